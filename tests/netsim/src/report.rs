//! The figures of the benchmark, as tables between marks in a document.

use std::fmt::Write as _;
use std::fs;

use netsim::CongestionControl::{Cubic, None as Uncontrolled, Reno};
use netsim::linux;

use crate::runs::{self, BITS_PER_SECOND, Cell, Engine};

const BEGIN: &str = "<!-- figures: written by `make bench-tcp` -->\n";
const END: &str = "<!-- end of figures -->\n";

/// What runs in simulated time, and what to call it.
const ENGINES: &[(&str, Engine)] = &[
    ("smoltcp, no control", Engine::Smoltcp(Uncontrolled)),
    ("smoltcp, Reno", Engine::Smoltcp(Reno)),
    ("smoltcp, CUBIC", Engine::Smoltcp(Cubic)),
    ("Nacre, CUBIC", Engine::Nacre),
];

/// Linux, which runs in real time.
const LINUX: &str = "Linux, CUBIC";

/// Measures, and replaces what is between the marks in `file`. Of throughput only what has `only` in its name is measured; the rest stays as it was.
pub(crate) fn write(file: &str, seconds: u64, only: &str) -> Result<(), String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let (before, rest) = text.split_once(BEGIN).ok_or_else(|| format!("{file}: no line {}", BEGIN.trim()))?;
    let (old, after) = rest.split_once(END).ok_or_else(|| format!("{file}: no line {}", END.trim()))?;
    let mut figures = String::new();
    throughput(&mut figures, seconds, &Wanted { only, old })?;
    costs(&mut figures)?;
    fs::write(file, format!("{before}{BEGIN}\n{figures}\n{END}{after}")).map_err(|error| format!("{file}: {error}"))
}

/// Which engines are measured, and the figures of the others.
struct Wanted<'a> {
    only: &'a str,
    old: &'a str,
}

impl Wanted<'_> {
    /// The figure that there was for an engine and the cell whose row begins so, if it is not to be measured.
    fn kept(&self, name: &str, row: &str) -> Option<String> {
        if name.contains(self.only) {
            return None;
        }
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        let header = self.old.lines().find(|line| line.starts_with("| delay")).map(cells).unwrap_or_default();
        let row = self.old.lines().find(|line| line.starts_with(row)).map(cells).unwrap_or_default();
        let place = header.iter().position(|known| known == name);
        Some(place.and_then(|place| row.get(place).cloned()).unwrap_or_else(|| "-".to_owned()))
    }
}

fn throughput(figures: &mut String, seconds: u64, wanted: &Wanted<'_>) -> Result<(), String> {
    let obstacle = linux::find_obstacle();
    if let Some(obstacle) = &obstacle {
        eprintln!("bench-tcp: Linux is left out: {obstacle}");
    }
    let _ = writeln!(
        figures,
        "Mbit/s of data from one end to the other in the first {seconds} s; the link carries {} Mbit/s, headers included.\n",
        BITS_PER_SECOND / 1_000_000
    );
    let names: Vec<&str> = ENGINES.iter().map(|(name, _)| *name).chain([LINUX]).collect();
    let _ = writeln!(figures, "| delay | frame | loss | {} |", names.join(" | "));
    let _ = writeln!(figures, "|---|---|---|{}", "---|".repeat(names.len()));
    for cell in Cell::all() {
        let row = format!("| {} ms | {} | {} % |", cell.delay_ms, cell.mtu, cell.loss_percent);
        figures.push_str(&row);
        for (name, engine) in ENGINES {
            let figure = match wanted.kept(name, &row) {
                Some(figure) => figure,
                None => {
                    eprintln!("bench-tcp: {cell:?}: {name}");
                    megabits(runs::simulated(*engine, cell, seconds)?)
                }
            };
            let _ = write!(figures, " {figure} |");
        }
        let figure = match wanted.kept(LINUX, &row) {
            Some(figure) => figure,
            None if obstacle.is_some() => "-".to_owned(),
            None => {
                eprintln!("bench-tcp: {cell:?}: Linux");
                megabits(runs::of_linux(cell, seconds)?)
            }
        };
        let _ = writeln!(figures, " {figure} |");
    }
    Ok(())
}

fn costs(figures: &mut String) -> Result<(), String> {
    figures.push_str("\nCPU time, both ends together, on a wire that takes no time:\n\n");
    figures.push_str("| engine | frame | ns for a packet | ns for a KiB of data |\n|---|---|---|---|\n");
    for (name, engine) in ENGINES {
        for mtu in [1500, 65_521] {
            eprintln!("bench-tcp: CPU time of {name}, frames of {mtu}");
            let cost = runs::cpu_cost(*engine, mtu)?;
            let (packet_ns, kib_ns) = (cost.cpu_ns / cost.packets.max(1), cost.cpu_ns * 1024 / cost.len.max(1));
            let _ = writeln!(figures, "| {name} | {mtu} | {packet_ns} | {kib_ns} |");
        }
    }
    figures.push_str("\nMemory of an idle connection, in bytes:\n\n| engine | buffers | all |\n|---|---|---|\n");
    for buffer in [4 << 10, 64 << 10, 2 << 20] {
        let _ = writeln!(figures, "| smoltcp | twice {buffer} | {} |", runs::smoltcp_memory(buffer));
    }
    let _ = writeln!(figures, "| Nacre | grow with use | {} |", runs::engine_memory()?);
    Ok(())
}

/// Two digits that matter, at least.
fn megabits(bits_per_second: u64) -> String {
    let hundredths = bits_per_second / 10_000;
    if hundredths >= 1000 {
        format!("{}", hundredths / 100)
    } else {
        format!("{}.{:02}", hundredths / 100, hundredths % 100)
    }
}
