//! Replays what Linux's own line discipline did, recorded from a pseudo-terminal by `record_tty.py`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use abi::Termios;
use abi::tty::{VEOL, VEOL2, VMIN, VTIME};
use file::tty::{Effects, LineDiscipline, Taken};

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).unwrap()).collect()
}

/// What the terminal sends now.
fn sent(discipline: &mut LineDiscipline) -> Vec<u8> {
    if discipline.is_stopped() { Vec::new() } else { std::mem::take(discipline.echo()) }
}

/// A non-blocking read, as `TtyFile` does it.
fn read(discipline: &mut LineDiscipline, size: usize) -> Option<Vec<u8>> {
    let mut all = vec![0; size];
    let mut done = 0;
    loop {
        match discipline.read(&mut all[done..], size - done, true) {
            Taken::Nothing if done == 0 => return None,
            Taken::Nothing => break,
            Taken::Done(len) => {
                done += len;
                break;
            }
            Taken::More(len) => {
                done += len;
                if done == size {
                    discipline.skip_end_of_file();
                    break;
                }
            }
        }
    }
    all.truncate(done);
    Some(all)
}

fn settings(old: &Termios, step: &str) -> Termios {
    let mut parts = step.split(':').skip(1);
    let mut octal = || u32::from_str_radix(parts.next().unwrap(), 8).unwrap();
    let (c_iflag, c_oflag, c_lflag) = (octal(), octal(), octal());
    let mut termios = Termios { c_iflag, c_oflag, c_lflag, ..*old };
    termios.c_cc[VMIN] = parts.next().unwrap().parse().unwrap();
    termios.c_cc[VTIME] = 0;
    termios.c_cc[VEOL] = b'|';
    termios.c_cc[VEOL2] = b'#';
    termios
}

/// Does one step; the message says how the answer differs from Linux's.
fn step(discipline: &mut LineDiscipline, step: &str) -> Result<(), String> {
    let differs =
        |got: String, expected: &str| if got == expected { Ok(()) } else { Err(format!("{step}: got {got}")) };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (kind, rest) = step.split_at(1);
    match kind {
        "t" => {
            let termios = settings(discipline.termios(), step);
            discipline.set_termios(termios);
            sent(discipline);
            Ok(())
        }
        "i" => {
            let (byte, expected) = rest.split_once('>').unwrap();
            if discipline.room() > 0 {
                discipline.receive(bytes(byte)[0], &mut Effects::default());
            }
            differs(hex(&sent(discipline)), expected)
        }
        "w" => {
            let (data, expected) = rest.split_once('>').unwrap();
            let mut out = Vec::with_capacity(4096);
            assert_eq!(discipline.process_output(&bytes(data), &mut out), bytes(data).len());
            differs(hex(&out), expected)
        }
        "r" => {
            let (size, expected) = rest.split_once('=').unwrap();
            let got = read(discipline, size.parse().unwrap());
            differs(got.map_or("!".into(), |bytes| hex(&bytes)), expected)
        }
        "q" => differs(discipline.input_len().to_string(), rest),
        "p" => differs(u8::from(discipline.has_input()).to_string(), rest),
        _ => panic!("unknown step {step}"),
    }
}

#[test]
fn does_what_linux_did() {
    let path = std::env::var("TTY_RECORD").unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tty.txt").into());
    let record = std::fs::read_to_string(path).unwrap();
    let mut failures = Vec::new();
    for (number, line) in record.lines().enumerate() {
        let mut discipline = LineDiscipline::new();
        for (index, one) in line.split(' ').enumerate() {
            if let Err(message) = step(&mut discipline, one) {
                failures.push(format!("case {} step {index}: {message}", number + 1));
                break;
            }
        }
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures[..failures.len().min(10)].join("\n"));
}
