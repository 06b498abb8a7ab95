//! Scripts about TCP Fast Open: what goes with a SYN, and what becomes of it.

use abi::Errno;
use net::tcp::engine::{Connection, Cookie, Engine, FastOpen, Opening, SegmentFlags, SegmentHeader};

use crate::script::{ACK, MS, OURS, SYN, Script, THEIRS, settings};
use crate::support::Collector;

/// `TCPI_OPT_SYN_DATA`.
const OPTION_SYN_DATA: u8 = 32;

fn cookie() -> Cookie {
    Cookie::from_bytes(&[1, 2, 3, 4, 5, 6, 7, 8]).expect("eight bytes are a cookie")
}

fn opening(option: Option<Cookie>, data: &[u8]) -> Script {
    let now_ns = 1000 * MS;
    let mut output = Collector::default();
    let opening = Opening { initial_sequence: OURS - 1, timestamp_offset: 0 };
    let engine = Connection::open_fast(now_ns, settings(), opening, FastOpen { option, data }, &mut output);
    Script { engine, now_ns, output, window: 65_535 }
}

fn answer(script: &mut Script, acknowledged: u32, fast_open: Option<Cookie>) {
    let header = script.segment(0, acknowledged, SYN | ACK);
    script.give(SegmentHeader { sequence: THEIRS - 1, mss: Some(1460), fast_open, ..header }, &[]);
}

fn shown(script: &Script) -> (bool, u8) {
    let information = script.engine.information(script.now_ns);
    (information.options & OPTION_SYN_DATA != 0, information.fast_open_failure)
}

#[test]
fn a_cookie_is_asked_for_and_comes_with_the_answer() {
    let mut script = opening(Some(Cookie::REQUEST), b"");
    let sent = script.take();
    assert_eq!((sent[0].header.fast_open, sent[0].bytes.len()), (Some(Cookie::REQUEST), 0));
    answer(&mut script, 0, Some(cookie()));
    assert_eq!(script.engine.take_cookie(), Some(Ok(cookie())));
    assert_eq!(script.engine.take_cookie(), None);
    assert_eq!(shown(&script), (false, 1));
}

#[test]
fn data_that_comes_with_a_syn_is_acknowledged_with_it() {
    let mut script = opening(Some(cookie()), &[9; 100]);
    let sent = script.take();
    assert_eq!((sent[0].header.sequence, sent[0].header.flags, sent[0].bytes.len()), (OURS - 1, SYN, 100));
    assert_eq!(sent[0].header.fast_open, Some(cookie()));
    answer(&mut script, 100, None);
    assert_eq!(script.take_data(), [(100, 0)], "an acknowledgement, and nothing again");
    assert_eq!(shown(&script), (true, 0));
    script.write(50);
    assert_eq!(script.take_data(), [(100, 50)]);
    script.ack(150);
    let information = script.engine.information(script.now_ns);
    assert_eq!((information.bytes_acknowledged, information.bytes_sent), (151, 150), "SYN is one");
}

#[test]
fn data_that_was_not_taken_is_sent_again_at_once() {
    for taken in [0, 40] {
        let mut script = opening(Some(cookie()), &[9; 100]);
        script.take();
        answer(&mut script, taken, None);
        assert_eq!(script.take_data(), [(taken, 100 - taken as usize)]);
        assert_eq!(shown(&script), (false, 2));
        script.ack(100);
        assert_eq!(script.engine.unacknowledged_len(), (0, 0));
    }
}

#[test]
fn a_syn_that_is_sent_again_carries_nothing_and_the_cookie_is_forgotten() {
    let mut script = opening(Some(cookie()), &[9; 100]);
    script.take();
    script.wait(1100);
    let sent = script.take();
    assert_eq!((sent[0].header.flags, sent[0].header.fast_open, sent[0].bytes.len()), (SYN, None, 0));
    answer(&mut script, 0, None);
    assert_eq!(script.take_data(), [(0, 100)]);
    assert_eq!(script.engine.take_cookie(), Some(Err(Errno::ETIMEDOUT)));
    assert_eq!(script.engine.take_cookie(), None, "once");
    assert_eq!(shown(&script), (false, 3));
}

#[test]
fn a_cookie_whose_data_arrived_stays_good() {
    // The answer was late; or it was not, and data that follows has to be sent again.
    for wait_ms in [1100, 10] {
        let mut script = opening(Some(cookie()), &[9; 100]);
        script.wait(wait_ms);
        script.take();
        answer(&mut script, 100, None);
        assert_eq!(shown(&script), (true, 0));
        script.write(50);
        script.wait(2000);
        script.take();
        assert_ne!(script.engine.information(script.now_ns).retransmits, 0);
        assert_eq!(script.engine.take_cookie(), None);
    }
}

#[test]
fn a_cookie_that_was_not_asked_for_is_not_kept() {
    let mut script = opening(None, &[]);
    script.take();
    answer(&mut script, 0, Some(cookie()));
    assert_eq!(script.engine.take_cookie(), None);
}

#[test]
fn an_answer_to_more_than_was_sent_is_refused() {
    let mut script = opening(Some(cookie()), &[9; 100]);
    script.take();
    answer(&mut script, 101, None);
    assert!(script.take()[0].header.flags.contains(SegmentFlags::RST));
    // The whole of it was refused.
    let reset = script.segment(0, 100, SegmentFlags::RST | ACK);
    script.give(reset, &[]);
    assert_eq!(script.engine.take_error(), Some(Errno::ECONNREFUSED));
}

#[test]
fn what_does_not_fit_a_syn_waits_for_the_answer() {
    let mut script = opening(Some(cookie()), &[9; 3000]);
    let len = script.take()[0].bytes.len();
    assert_eq!(len, settings().mss_max - 40);
    assert_eq!(script.engine.unacknowledged_len().0, len, "the rest is not taken");
    assert_eq!(Cookie::from_bytes(&[1; 3]), None);
    assert_eq!(Cookie::from_bytes(&[1; 5]), None);
    assert_eq!(Cookie::from_bytes(&[1; 18]), None);
}
