//! Scripts: given this segment at this time, that one is expected. Each rule of an RFC, or habit of Linux, that the links cannot show.

use crate::script::{ACK, FIN, MS, OURS, RST, SYN, Script, THEIRS, options, settings};
use std::sync::Arc;

use abi::{Errno, PollEvents};
use mm::user::UserReader;
use net::frame::Piece;
use net::tcp::engine::{Engine, Negotiated, SegmentFlags, SegmentHeader, Settings, State};

#[test]
fn an_active_open_offers_all_and_is_acknowledged() {
    let mut script = Script::opening();
    let syn = script.take().remove(0).header;
    assert_eq!((syn.flags, syn.sequence, syn.mss, syn.window_scale), (SYN, OURS - 1, Some(1000), Some(7)));
    assert!(syn.is_sack_permitted && syn.timestamps.is_some());
    let answer = SegmentHeader {
        sequence: THEIRS - 1,
        acknowledgement: OURS,
        flags: SYN | ACK,
        window: 1000,
        mss: Some(800),
        ..SegmentHeader::default()
    };
    script.wait(30).give(answer, &[]);
    let ack = script.take().remove(0).header;
    assert_eq!((ack.flags, ack.sequence, ack.acknowledgement), (ACK, OURS, THEIRS));
    assert_eq!((script.engine.state(), ack.timestamps), (State::Established, None));
    let information = script.engine.information(script.now_ns);
    assert_eq!((information.round_trip_us, information.send_mss, information.options), (30_000, 800, 0));
}

#[test]
fn syn_is_repeated_six_times_and_then_given_up() {
    let mut script = Script::opening();
    script.take();
    let mut times = Vec::new();
    for second in 0..200 {
        script.wait(1000);
        times.extend(script.take().iter().map(|_| second + 1));
    }
    assert_eq!(times, [1, 3, 7, 15, 31, 63]);
    assert_eq!((script.engine.state(), script.engine.take_error()), (State::Closed, Some(Errno::ETIMEDOUT)));
}

#[test]
fn a_refused_open_says_so_but_not_for_a_stray_reset() {
    let mut script = Script::opening();
    let reset = |acknowledgement| SegmentHeader { acknowledgement, flags: RST | ACK, ..SegmentHeader::default() };
    script.give(reset(OURS + 5), &[]);
    assert_eq!(script.engine.state(), State::SynSent);
    script.give(reset(OURS), &[]);
    assert_eq!((script.engine.state(), script.engine.take_error()), (State::Closed, Some(Errno::ECONNREFUSED)));
    assert!(script.engine.readiness().contains(PollEvents::HUP | PollEvents::READABLE | PollEvents::WRITABLE));
}

#[test]
fn an_unreachable_network_ends_an_open_at_once() {
    let mut script = Script::opening();
    script.engine.network_error(Errno::EHOSTUNREACH, false);
    assert_eq!(script.engine.state(), State::SynSent);
    script.engine.network_error(Errno::ECONNREFUSED, true);
    assert_eq!((script.engine.state(), script.engine.take_error()), (State::Closed, Some(Errno::ECONNREFUSED)));
}

#[test]
fn both_sides_may_open_at_once() {
    let mut script = Script::opening();
    script.take();
    let syn = SegmentHeader { sequence: THEIRS - 1, flags: SYN, window: 100, ..SegmentHeader::default() };
    script.give(syn, &[]);
    let answer = script.take().remove(0).header;
    assert_eq!((answer.flags, answer.sequence, answer.acknowledgement), (SYN | ACK, OURS - 1, THEIRS));
    assert_eq!(script.engine.state(), State::SynReceived);
    let answer = SegmentHeader { acknowledgement: OURS, flags: SYN | ACK, ..syn };
    script.give(answer, &[]);
    assert_eq!(script.engine.state(), State::Established);
    script.write(50);
    assert_eq!(script.take_data(), [(0, 50)]);
}

#[test]
fn resets_count_at_the_very_next_number_only() {
    let mut script = Script::new();
    let reset = script.segment(1000, 0, RST);
    script.give(reset, &[]);
    assert_eq!((script.take_acks(), script.engine.state()), (vec![0], State::Established));
    // Challenges are seldom.
    script.give(reset, &[]);
    assert_eq!(script.take_acks(), []);
    let outside = script.segment(70_000, 0, RST);
    script.wait(1000).give(outside, &[]);
    assert_eq!(script.take_acks(), []);
    let reset = script.segment(0, 0, RST);
    script.give(reset, &[]);
    assert_eq!((script.engine.state(), script.engine.take_error()), (State::Closed, Some(Errno::ECONNRESET)));
    assert_eq!(script.engine.send(&mut UserReader::from_kernel(b"x")), Err(Errno::EPIPE));
}

#[test]
fn syn_and_foreign_acknowledgements_are_challenged() {
    let mut script = Script::new();
    let syn = script.segment(10, 0, SYN);
    script.give(syn, &[]);
    assert_eq!(script.take_acks(), [0]);
    script.wait(600).ack(5000);
    assert_eq!(script.take_acks(), [0]);
    script.wait(600).ack(0_u32.wrapping_sub(200_000));
    assert_eq!(script.take_acks(), [0]);
    assert_eq!(script.engine.state(), State::Established);
}

#[test]
fn old_timestamps_make_old_duplicates() {
    let mut script = Script::established(settings(), Negotiated { has_timestamps: true, ..options() });
    let mut header = script.segment(0, 0, ACK);
    header.timestamps = Some((600, 1));
    script.give(header, b"new");
    header.sequence += 3;
    header.timestamps = Some((599, 1));
    script.give(header, b"old");
    assert_eq!(script.engine.readable_len(), 3);
    let last = script.take().pop().expect("an acknowledgement").header;
    assert_eq!((last.acknowledgement, last.timestamps.map(|(_, echo)| echo)), (THEIRS + 3, Some(600)));
}

#[test]
fn acknowledgements_are_quick_then_delayed_then_for_every_second_segment() {
    let mut script = Script::new();
    script.data(0, 10);
    assert_eq!(script.take_acks(), [10]);
    let at = {
        let mut script = Script::new();
        script.past_quick()
    };
    let mut script = Script::new();
    script.past_quick();
    script.data(at, 100).wait(39);
    assert_eq!(script.take_acks(), []);
    script.wait(1);
    assert_eq!(script.take_acks(), [at + 100]);
    script.data(at + 100, 100).data(at + 200, 100);
    assert_eq!(script.take_acks(), [at + 300]);
}

#[test]
fn an_answer_carries_the_acknowledgement() {
    let mut script = Script::new();
    let at = script.past_quick();
    for round in 0..20 {
        let header = script.segment(at + round, round, ACK);
        script.give(header, b"q");
        assert_eq!(script.read(10), 1);
        script.write(1);
        let wires = script.take();
        assert_eq!(wires.len(), 1, "round {round}");
        assert_eq!(wires[0].header.acknowledgement, THEIRS + at + round + 1);
        script.wait(5);
    }
}

#[test]
fn setting_other_options_leaves_a_connection_interactive() {
    let mut script = Script::new();
    let at = script.past_quick();
    assert!(script.engine.is_quickack());
    script.write(1);
    assert!(!script.engine.is_quickack());
    script.take();
    // As a server sends a header and a file.
    for round in 0..3 {
        let header = script.segment(at + round, 1 + 2 * round, ACK);
        script.give(header, b"q");
        script.read(10);
        script.change(|settings| settings.is_corked = true).write(1).write(1);
        assert_eq!(script.take_acks(), [], "round {round}");
        script.change(|settings| settings.is_corked = false);
        assert_eq!(script.take_acks(), [at + round + 1]);
    }
    let header = script.segment(at + 3, 7, ACK);
    script.give(header, b"q").poll();
    assert_eq!(script.take_acks(), []);
    script.engine.set_quickack(true);
    script.poll();
    assert_eq!((script.take_acks(), script.engine.is_quickack()), (vec![at + 4], true));
}

#[test]
fn gaps_are_told_of_and_filled() {
    let mut script = Script::new();
    script.data(1000, 500);
    let ack = script.take().remove(0).header;
    assert_eq!((ack.acknowledgement, ack.sack_count, ack.sack[0]), (THEIRS, 1, (THEIRS + 1000, THEIRS + 1500)));
    script.data(0, 1000);
    assert_eq!((script.take_acks(), script.engine.readable_len()), (vec![1500], 1500));
    // A duplicate is reported.
    script.data(500, 600);
    let ack = script.take().remove(0).header;
    assert_eq!((ack.sack_count, ack.sack[0]), (1, (THEIRS + 500, THEIRS + 1100)));
    // What lies beyond the window is cut off.
    script.data(1500, 70_000);
    assert!(script.engine.readable_len() <= 1500 + 65_535);
}

#[test]
fn three_segments_beyond_a_gap_repair_it_at_once() {
    let mut script = Script::new();
    script.write(10_000);
    assert_eq!(script.take_data().len(), 10);
    script.wait(20).sack(0, &[(1000, 2000)]);
    assert_eq!(script.take_data(), []);
    script.sack(0, &[(1000, 4000)]);
    assert_eq!(script.take_data().first(), Some(&(0, 1000)));
    assert_eq!(script.engine.information(script.now_ns).congestion_state, 3);
    let threshold = script.engine.information(script.now_ns).slow_start_threshold;
    assert_eq!(threshold, 7);
    script.wait(20).ack(10_000);
    assert_eq!(script.engine.information(script.now_ns).congestion_state, 0);
}

#[test]
fn without_sack_three_duplicates_repair_a_loss() {
    let mut script = Script::established(settings(), Negotiated { has_sack: false, ..options() });
    script.write(10_000);
    script.take();
    script.wait(20).ack(0).ack(0);
    assert_eq!(script.take_data(), []);
    script.ack(0);
    assert_eq!(script.take_data().first(), Some(&(0, 1000)));
    // A partial acknowledgement tells of the next loss (RFC 6582).
    script.wait(20).ack(3000);
    assert_eq!(script.take_data().first(), Some(&(3000, 1000)));
}

#[test]
fn a_lost_tail_is_probed_and_then_timed_out() {
    let mut script = Script::new();
    script.write(3000);
    script.take();
    // Two round trips of 20 ms, and the timer's grain.
    script.wait(41);
    assert_eq!(script.take_data(), []);
    script.wait(2);
    assert_eq!(script.take_data(), [(2000, 1000)]);
    // The timeout is the round trip and at least 200 ms.
    script.wait(300);
    assert_eq!(script.take_data(), [(0, 1000)]);
    assert_eq!(script.engine.information(script.now_ns).congestion_state, 4);
    assert_eq!(script.engine.information(script.now_ns).backoff, 1);
}

#[test]
fn an_echo_from_before_the_timeout_takes_it_back() {
    let mut script = Script::established(settings(), Negotiated { has_timestamps: true, ..options() });
    script.write(9000);
    script.take();
    script.wait(600);
    assert_eq!(script.engine.information(script.now_ns).congestion_state, 4);
    let mut header = script.segment(0, 988, ACK);
    header.timestamps = Some((700, 1000));
    script.give(header, &[]);
    let information = script.engine.information(script.now_ns);
    assert_eq!((information.congestion_state, information.lost, information.backoff), (0, 0, 0));
    assert!(information.congestion_window >= 10);
}

/// Ten segments are out and five wait; a probe and a timeout have been.
fn after_a_timeout() -> Script {
    let mut script = Script::new();
    script.write(15_000);
    assert_eq!(script.take_data().len(), 10);
    script.wait(600);
    let sent = script.take_data();
    assert_eq!((sent.first(), sent.last()), (Some(&(10_000, 1000)), Some(&(0, 1000))));
    assert_eq!(script.engine.information(script.now_ns).congestion_state, 4);
    script
}

#[test]
fn data_sent_once_that_arrives_after_a_timeout_takes_it_back() {
    let mut script = after_a_timeout();
    script.ack(3000);
    let information = script.engine.information(script.now_ns);
    assert_eq!((information.congestion_state, information.lost, information.backoff), (0, 0, 0));
    assert!(information.congestion_window >= 10);
    assert_eq!(script.take_data()[0].0, 11_000, "nothing is sent again");
}

#[test]
fn new_data_finds_out_whether_a_timeout_was_right() {
    let mut script = after_a_timeout();
    script.ack(1000);
    assert_eq!(script.take_data(), [(11_000, 1000), (12_000, 1000)]);
    script.ack(2000);
    let information = script.engine.information(script.now_ns);
    assert_eq!((information.congestion_state, information.lost), (0, 0));

    let mut script = after_a_timeout();
    script.ack(1000);
    script.take();
    script.sack(1000, &[(11_000, 12_000)]);
    assert_eq!(script.engine.information(script.now_ns).congestion_state, 4);
    assert_eq!(script.take_data()[0], (1000, 1000), "it was");
    script.ack(3000);
    assert_eq!(script.engine.information(script.now_ns).congestion_state, 4, "and stays so");
}

#[test]
fn without_new_data_a_timeout_is_right() {
    let mut script = Script::new();
    script.write(5000);
    script.wait(600);
    script.take();
    script.ack(1000);
    assert_eq!(script.take_data(), [(1000, 1000), (2000, 1000)]);
}

#[test]
fn a_closed_window_is_probed_at_growing_intervals() {
    let mut script = Script::new();
    script.window = 0;
    script.ack(0).write(500);
    assert_eq!(script.take_data(), []);
    let mut times = Vec::new();
    for at in 0..40 {
        script.wait(100);
        for (place, len) in script.take_data() {
            assert_eq!((place, len), (u32::MAX, 0));
            times.push(at);
            script.ack(0);
        }
    }
    assert!(times.len() >= 3, "{times:?}");
    assert!(script.engine.take_error().is_none());
    script.window = 2000;
    script.ack(0);
    assert_eq!(script.take_data(), [(0, 500)]);
}

#[test]
fn small_windows_are_not_worth_a_segment() {
    let mut script = Script::new();
    script.write(5000);
    script.take();
    script.window = 300;
    script.ack(5000).write(5000);
    assert_eq!(script.take_data(), []);
    // After a while, what fits.
    script.wait(300);
    assert_eq!(script.take_data(), [(5000, 300)]);
}

#[test]
fn our_window_closes_and_opens_by_steps() {
    let fixed = Settings { receive_buffer: 40_000, is_receive_buffer_fixed: true, ..settings() };
    let mut script = Script::established(fixed, options());
    let mut at = 0;
    let mut edge = 0;
    while at < 60_000 {
        script.data(at, 1000);
        at += 1000;
        for wire in script.take() {
            let offered = wire.header.acknowledgement + u32::from(wire.header.window);
            assert!(offered >= edge, "the right edge never moves left");
            edge = offered;
        }
    }
    assert_eq!(edge, THEIRS + 65_535, "what was promised at first, and no more");
    assert_eq!(script.read(100), 100);
    assert_eq!(script.take_acks(), []);
    assert!(script.read(100_000) > 59_000);
    let update = script.take().pop().expect("a window update").header;
    assert_eq!(update.window, 20_000);
}

#[test]
fn nagle_holds_a_second_small_segment_and_cork_all() {
    let mut script = Script::new();
    script.write(10);
    assert_eq!(script.take_data(), [(0, 10)]);
    script.write(10);
    assert_eq!(script.take_data(), []);
    script.ack(10);
    assert_eq!(script.take_data(), [(10, 10)]);
    script.write(10).change(|settings| settings.is_nodelay = true);
    assert_eq!(script.take_data(), [(20, 10)]);
    script.write(1);
    assert_eq!(script.take_data(), [(30, 1)]);
    script.ack(31);
    script.change(|settings| settings.is_corked = true).write(1500);
    assert_eq!(script.take_data(), [(31, 1000)]);
    script.ack(1031).wait(199);
    assert_eq!(script.take_data(), []);
    script.wait(2);
    assert_eq!(script.take_data(), [(1031, 500)]);
    script.ack(1531).write(5);
    assert_eq!(script.take_data(), []);
    script.change(|settings| settings.is_corked = false);
    assert_eq!(script.take_data(), [(1531, 5)]);
}

#[test]
fn corked_bytes_go_as_segments_fill_or_something_ends_it() {
    let mut script = Script::new();
    script.change(|settings| settings.is_corked = true);
    for _ in 0..3 {
        script.write(300);
        assert_eq!(script.take_data(), []);
    }
    script.write(300);
    assert_eq!(script.take_data(), [(0, 1000)]);
    // The time of what is left runs from when it began to wait.
    script.ack(1000).wait(150).write(100);
    assert_eq!(script.take_data(), []);
    script.wait(51);
    assert_eq!(script.take_data(), [(1000, 300)]);
    script.ack(1300).write(10).write(10);
    assert_eq!(script.take_data(), []);
    script.change(|settings| settings.is_corked = false);
    assert_eq!(script.take_data(), [(1300, 20)]);
    script.change(|settings| settings.is_corked = true).write(10).write(10);
    assert_eq!(script.take_data(), []);
    script.engine.shutdown_write();
    script.poll();
    assert_eq!(script.take_data(), [(1320, 20)], "the end goes with all before it");
}

#[test]
fn a_large_write_is_not_held_up_by_its_own_tail() {
    let mut script = Script::new();
    script.write(2500);
    assert_eq!(script.take_data(), [(0, 1000), (1000, 1000), (2000, 500)]);
}

#[test]
fn keepalive_asks_and_gives_up() {
    let keepalive = Settings {
        is_keepalive: true,
        keepalive_idle_ns: 10_000 * MS,
        keepalive_interval_ns: 1000 * MS,
        keepalive_probes: 3,
        ..settings()
    };
    let mut script = Script::established(keepalive, options());
    script.wait(9_999);
    assert_eq!(script.take_data(), []);
    script.wait(2);
    assert_eq!(script.take_data(), [(u32::MAX, 0)]);
    script.ack(0);
    script.wait(9_000);
    assert_eq!(script.take_data(), []);
    script.wait(4_000);
    let probes = script.take();
    assert_eq!(probes.len(), 4);
    assert!(probes[3].header.flags.contains(RST));
    assert_eq!(script.engine.take_error(), Some(Errno::ETIMEDOUT));
}

#[test]
fn the_user_timeout_ends_a_connection_that_gets_no_answer() {
    let mut script = Script::established(Settings { user_timeout_ns: 3000 * MS, ..settings() }, options());
    script.write(100).wait(2_900);
    assert_eq!(script.engine.state(), State::Established);
    script.wait(400);
    assert_eq!((script.engine.state(), script.engine.take_error()), (State::Closed, Some(Errno::ETIMEDOUT)));
}

#[test]
fn unanswered_data_is_given_up_after_linux_s_time_with_the_network_s_reason() {
    let mut script = Script::new();
    script.write(100).wait(900_000);
    assert_eq!(script.engine.state(), State::Established);
    script.engine.network_error(Errno::EHOSTUNREACH, false);
    script.wait(200_000);
    assert_eq!((script.engine.state(), script.engine.take_error()), (State::Closed, Some(Errno::EHOSTUNREACH)));
}

#[test]
fn a_close_goes_through_all_states() {
    let mut script = Script::new();
    script.write(10);
    assert!(!script.engine.close(script.now_ns, &mut script.output));
    assert_eq!(script.engine.state(), State::FinWait1);
    let last = script.take().pop().expect("FIN").header;
    assert_eq!((last.flags.contains(SegmentFlags::FIN), last.sequence), (true, OURS + 10));
    script.ack(11);
    assert_eq!(script.engine.state(), State::FinWait2);
    let fin = script.segment(0, 11, FIN);
    script.give(fin, &[]);
    assert_eq!((script.take_acks(), script.engine.state()), (vec![1], State::TimeWait));
    let time_wait = script.engine.time_wait().expect("in TIME-WAIT");
    assert_eq!((time_wait.send_next, time_wait.receive_next), (OURS + 11, THEIRS + 1));
    // The peer has not got the acknowledgement.
    script.wait(1000).give(fin, &[]);
    assert_eq!(script.take_acks(), [1]);
    script.wait(61_000);
    assert_eq!(script.engine.state(), State::Closed);
}

#[test]
fn both_sides_may_close_at_once() {
    let mut script = Script::new();
    script.engine.close(script.now_ns, &mut script.output);
    let fin = script.segment(0, 0, FIN);
    script.give(fin, &[]);
    assert_eq!(script.engine.state(), State::Closing);
    let ack = script.segment(1, 1, ACK);
    script.give(ack, &[]);
    assert_eq!(script.engine.state(), State::TimeWait);
}

#[test]
fn a_passive_close_ends_with_the_last_acknowledgement() {
    let mut script = Script::new();
    let fin = script.segment(0, 0, FIN);
    script.give(fin, b"bye");
    assert_eq!((script.engine.state(), script.take_acks()), (State::CloseWait, vec![4]));
    assert!(script.engine.readiness().contains(PollEvents::RDHUP) && !script.engine.is_read_finished());
    assert_eq!(script.read(10), 3);
    assert!(script.engine.is_read_finished());
    script.write(5).engine.shutdown_write();
    script.poll();
    assert_eq!(script.engine.state(), State::LastAck);
    let ack = script.segment(4, 6, ACK);
    script.give(ack, &[]);
    assert_eq!((script.engine.state(), script.engine.take_error()), (State::Closed, None));
}

#[test]
fn unread_data_makes_a_close_a_reset() {
    let mut script = Script::new();
    script.data(0, 10);
    script.take();
    assert!(script.engine.close(script.now_ns, &mut script.output));
    assert!(script.take()[0].header.flags.contains(RST));
    // And so does data that comes later.
    let mut script = Script::new();
    script.engine.close(script.now_ns, &mut script.output);
    script.take();
    let late = script.segment(0, 1, ACK);
    script.give(late, b"late");
    assert!(script.take()[0].header.flags.contains(RST));
    assert_eq!(script.engine.state(), State::Closed);
}

#[test]
fn half_closed_connections_do_not_last_without_an_owner() {
    let mut script = Script::new();
    script.engine.close(script.now_ns, &mut script.output);
    script.ack(1).wait(59_000);
    assert_eq!(script.engine.state(), State::FinWait2);
    script.wait(2_000);
    assert_eq!(script.engine.state(), State::Closed);
}

#[test]
fn urgent_bytes_are_apart_from_the_stream() {
    let mut script = Script::new();
    let mut header = script.segment(0, 0, ACK | SegmentFlags::URG);
    header.urgent_pointer = 4;
    script.give(header, b"abcXdef");
    assert!(script.engine.readiness().contains(PollEvents::PRI));
    assert_eq!((script.engine.take_urgent(false), script.engine.waiting_len()), (Ok(Some(b'X')), 3));
    assert_eq!(script.engine.take_urgent(false), Err(Errno::EINVAL));
    assert_eq!((script.read(10), script.engine.is_at_mark()), (3, true));
    assert_eq!((script.read(10), script.engine.is_at_mark()), (3, false));
    assert_eq!(script.engine.send_urgent(b'!'), Ok(true));
    script.poll();
    let sent = script.take().pop().expect("the byte");
    assert!(sent.header.flags.contains(SegmentFlags::URG));
    assert_eq!((sent.header.urgent_pointer, sent.bytes), (1, b"!".to_vec()));
}

#[test]
fn a_narrower_path_repeats_what_is_too_long() {
    let mut script = Script::new();
    script.write(2500);
    script.take();
    script.engine.reduce_mss(600);
    script.poll();
    let sent = script.take_data();
    assert_eq!(sent, [(0, 600), (600, 400), (1000, 600), (1600, 400)]);
    script.ack(2500);
    assert_eq!(script.engine.information(script.now_ns).send_mss, 600);
}

#[test]
fn bursts_are_whole_segments_and_emitted_at_once() {
    let settings = Settings { burst_len_max: 64_000, ..settings() };
    let mut script = Script::over_path(settings, options(), MS / 10);
    script.write(9500);
    assert_eq!((script.output.emissions, script.take_data().len()), (1, 10));
    script.ack(9500);
    assert_eq!(script.engine.unacknowledged_len(), (0, 0));
    // On a long way as much as the window carries in a millisecond, and two segments at least.
    let mut script = Script::established(settings, options());
    script.write(9500);
    assert_eq!((script.output.emissions, script.take_data().len()), (5, 10));
}

#[test]
fn segments_of_many_pieces_are_cut_to_what_devices_take() {
    let mut script = Script::established(Settings { burst_len_max: 64_000, ..settings() }, options());
    let bytes: Vec<u8> = (0..40 * 100_u32).map(|at| (at / 100).to_le_bytes()[0]).collect();
    let memory = Arc::new(bytes.clone());
    for at in 0..40 {
        assert_eq!(script.engine.send_piece(&Piece::Shared(memory.clone(), at * 100..at * 100 + 100)), Ok(true));
    }
    script.poll();
    let sent: Vec<u8> = script.take().into_iter().flat_map(|wire| wire.bytes).collect();
    assert_eq!(sent, bytes);
    // A probe, and a timeout.
    script.wait(300);
    let again = script.take();
    assert_eq!((&again[0].bytes[..], &again[1].bytes[..]), (&bytes[3000..4000], &bytes[..1000]));
}

#[test]
fn nothing_is_due_on_an_idle_connection() {
    let mut script = Script::new();
    script.write(10).ack(10).take();
    assert!(!script.engine.awaits_acknowledgement());
    // The timer that was stopped is looked at once more, and never again.
    script.wait(2_000);
    assert_eq!((script.take().len(), script.engine.poll_at()), (0, u64::MAX));
}
