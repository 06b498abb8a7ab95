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

/// Measures, and replaces what is between the marks in `file`.
pub(crate) fn write(file: &str, seconds: u64) -> Result<(), String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let (before, rest) = text.split_once(BEGIN).ok_or_else(|| format!("{file}: no line {}", BEGIN.trim()))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| format!("{file}: no line {}", END.trim()))?;
    let mut figures = String::new();
    throughput(&mut figures, seconds)?;
    costs(&mut figures)?;
    fs::write(file, format!("{before}{BEGIN}\n{figures}\n{END}{after}")).map_err(|error| format!("{file}: {error}"))
}

fn throughput(figures: &mut String, seconds: u64) -> Result<(), String> {
    let obstacle = linux::find_obstacle();
    if let Some(obstacle) = &obstacle {
        eprintln!("bench-tcp: Linux is left out: {obstacle}");
    }
    let _ = writeln!(
        figures,
        "Mbit/s of data from one end to the other in the first {seconds} s; the link carries {} Mbit/s, headers included.\n",
        BITS_PER_SECOND / 1_000_000
    );
    let names: Vec<&str> = ENGINES.iter().map(|(name, _)| *name).chain(["Linux, CUBIC"]).collect();
    let _ = writeln!(figures, "| delay | frame | loss | {} |", names.join(" | "));
    let _ = writeln!(figures, "|---|---|---|{}", "---|".repeat(names.len()));
    for cell in Cell::all() {
        let _ = write!(figures, "| {} ms | {} | {} % |", cell.delay_ms, cell.mtu, cell.loss_percent);
        for (name, engine) in ENGINES {
            eprintln!("bench-tcp: {cell:?}: {name}");
            let _ = write!(figures, " {} |", megabits(runs::simulated(*engine, cell, seconds)?));
        }
        if obstacle.is_some() {
            figures.push_str(" - |\n");
            continue;
        }
        eprintln!("bench-tcp: {cell:?}: Linux");
        let _ = writeln!(figures, " {} |", megabits(runs::of_linux(cell, seconds)?));
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
