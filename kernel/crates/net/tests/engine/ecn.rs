//! Scripts about ECN: who asks, what is marked, how the sender answers a report, and when reports end.

use net::tcp::engine::{Connection, EcnMode, Engine, Negotiated, Opening, SegmentFlags, SegmentHeader, Settings};

use crate::script::{ACK, MS, MSS, OURS, SYN, Script, THEIRS, options, settings};
use crate::support::Collector;

const ECE: SegmentFlags = SegmentFlags::ECE;
const CWR: SegmentFlags = SegmentFlags::CWR;
/// `TCPI_OPT_ECN` and `TCPI_OPT_ECN_SEEN`.
const OPTION_ECN: u8 = 8;
const OPTION_ECN_SEEN: u8 = 16;

fn agreed() -> Script {
    Script::established(settings(), Negotiated { has_ecn: true, ..options() })
}

/// A connection that begins here, by this setting: its SYN is in the output.
fn opening(ecn: EcnMode) -> Script {
    let now_ns = 1000 * MS;
    let mut output = Collector::default();
    let opening = Opening { initial_sequence: OURS - 1, timestamp_offset: 0 };
    let engine = Connection::open(now_ns, Settings { ecn, ..settings() }, opening, &mut output);
    Script { engine, now_ns, output, window: 65_535 }
}

fn answer(script: &mut Script, flags: SegmentFlags) {
    let mut header = script.segment(0, 0, SYN | ACK | flags);
    (header.sequence, header.mss) = (THEIRS - 1, Some(1460));
    script.give(header, &[]);
    script.take();
}

fn has_ecn(script: &Script) -> bool {
    script.engine.information(script.now_ns).options & OPTION_ECN != 0
}

#[test]
fn only_the_first_syn_asks() {
    let mut script = opening(EcnMode::Ask);
    assert!(script.take()[0].header.flags.contains(ECE | CWR));
    script.wait(1100);
    assert!(!script.take()[0].header.flags.intersects(ECE | CWR));
    assert!(!opening(EcnMode::Agree).take()[0].header.flags.intersects(ECE | CWR));
}

#[test]
fn an_answer_agrees_by_one_flag() {
    for (flags, is_agreed) in [(ECE, true), (SegmentFlags::empty(), false), (ECE | CWR, false)] {
        let mut script = opening(EcnMode::Ask);
        script.take();
        answer(&mut script, flags);
        assert_eq!(has_ecn(&script), is_agreed);
        script.write(10);
        let sent = script.take();
        assert_eq!(sent[0].header.is_ecn_capable, is_agreed);
    }
    let mut script = opening(EcnMode::Agree);
    answer(&mut script, ECE);
    assert!(!has_ecn(&script), "nobody asked");
}

#[test]
fn new_data_alone_may_be_marked() {
    let mut script = agreed();
    script.data(0, 3 * MSS);
    assert!(script.take().iter().all(|wire| !wire.header.is_ecn_capable), "acknowledgements");
    script.write(MSS);
    assert!(script.take()[0].header.is_ecn_capable);
    script.wait(2000);
    let again = script.take();
    assert!(!again.is_empty() && again.iter().all(|wire| !wire.header.is_ecn_capable), "sent again");
}

#[test]
fn a_report_slows_the_sender_down_once_in_a_window() {
    let mut script = agreed();
    script.write(15 * MSS);
    assert_eq!(script.take_data().len(), 10);
    let window = script.engine.information(script.now_ns).congestion_window;
    let report = script.segment(0, 1000, ACK | ECE);
    script.give(report, &[]);
    let figures = script.engine.information(script.now_ns);
    // Nothing is sent again, and the threshold of CUBIC is seven tenths.
    assert_eq!((figures.congestion_state, figures.slow_start_threshold), (2, window * 7 / 10));
    let mut said = Vec::new();
    for acknowledged in 2..=10 {
        let report = script.segment(0, acknowledged * 1000, ACK | ECE);
        script.give(report, &[]);
        said.extend(script.take().iter().map(|wire| wire.header.flags.contains(CWR)));
    }
    assert_eq!((said.first(), said.iter().filter(|is_said| **is_said).count()), (Some(&true), 1));
    // All that was in flight is acknowledged, but not yet what says CWR: these reports are no news.
    let figures = script.engine.information(script.now_ns);
    assert_eq!((figures.congestion_state, figures.slow_start_threshold), (2, window * 7 / 10));
    script.ack(11_000);
    let figures = script.engine.information(script.now_ns);
    assert_eq!((figures.congestion_state, figures.congestion_window), (0, window * 7 / 10));
    assert_eq!(figures.total_retransmits, 0);
}

#[test]
fn losses_in_the_middle_of_a_reduction_reduce_no_more() {
    let mut script = agreed();
    script.write(15 * MSS);
    script.take();
    let report = script.segment(0, 1000, ACK | ECE);
    script.give(report, &[]);
    let threshold = script.engine.information(script.now_ns).slow_start_threshold;
    script.sack(1000, &[(2000, 6000)]);
    let figures = script.engine.information(script.now_ns);
    assert_eq!((figures.congestion_state, figures.slow_start_threshold), (3, threshold));
    assert!(script.take_data().contains(&(1000, MSS)));
}

#[test]
fn marks_are_reported_until_the_peer_says_that_it_slowed_down() {
    let mut script = agreed();
    let at = script.past_quick();
    let capable = SegmentHeader { is_ecn_capable: true, ..script.segment(at, 0, ACK) };
    let marked = SegmentHeader { is_congestion_marked: true, ..capable };
    script.give(marked, &[7; MSS]);
    let sent = script.take();
    assert!(sent.len() == 1 && sent[0].header.flags.contains(ECE), "at once");
    script.write(10);
    assert!(script.take()[0].header.flags.contains(ECE), "in data as well");
    let next = at + 1000;
    let reduced = SegmentHeader { sequence: THEIRS + next, flags: ACK | CWR, ..capable };
    script.give(reduced, &[7; MSS]);
    script.wait(300);
    assert!(script.take().iter().all(|wire| !wire.header.flags.contains(ECE)));
    assert!(script.engine.information(script.now_ns).options & OPTION_ECN_SEEN != 0);
}

#[test]
fn without_agreement_marks_mean_nothing() {
    let mut script = Script::new();
    let at = script.past_quick();
    let marked = script.segment(at, 0, ACK);
    script.give(SegmentHeader { is_ecn_capable: true, is_congestion_marked: true, ..marked }, &[7; MSS]);
    script.wait(300);
    assert!(script.take().iter().all(|wire| !wire.header.flags.contains(ECE)));
    script.write(15 * MSS);
    let report = script.segment(0, 1000, ACK | ECE);
    script.give(report, &[]);
    assert_eq!(script.engine.information(script.now_ns).congestion_state, 0);
}
