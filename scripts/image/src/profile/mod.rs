//! A flame graph from what the kernel's sampler tells (`kernel/src/platform/profile.rs` says what its records are).
//!
//! Every sample becomes a stack of names: the program, its functions, the kernel's functions on its behalf. The kernel's addresses are
//! exact. The program's beyond the first follow frame pointers that it may not have, so a return address counts only if it lies
//! behind a call instruction; there the stack ends otherwise.

mod flame_graph;
mod symbols;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use rustc_demangle::demangle;

use crate::kernel_file::payload;
use crate::{Failure, Result};
use flame_graph::KERNEL_MARK;
use symbols::Symbols;

/// What samples of the kernel's own threads stand under.
const WORKERS: &str = "kernel threads";

/// An executable area of the program's memory.
#[derive(Debug)]
struct Area {
    start: u64,
    end: u64,
    /// Where it begins in its file.
    offset: u64,
    name: String,
}

/// A profile while it is taken.
#[derive(Debug)]
pub struct Profile {
    /// The image, for the names of functions.
    payload: Vec<u8>,
    program: String,
    /// Where the kernel's text begins.
    kernel_start: u64,
    areas: Vec<Area>,
    /// The functions of files, as far as they have been looked at.
    files: HashMap<String, Option<Symbols>>,
    /// How often each stack was seen: names from the outermost function on, separated by semicolons.
    stacks: BTreeMap<String, u64>,
    samples: u64,
    idle: u64,
    lost: u64,
}

impl Profile {
    /// An empty profile of what an image runs.
    ///
    /// # Errors
    /// When the image cannot be read.
    pub fn new(image: &Path) -> Result<Self> {
        let file = fs::read(image).map_err(|error| Failure::io(image, &error))?;
        let payload = payload(&file)?.to_vec();
        let program = image_format::Image::parse(&payload)
            .map(|image| String::from_utf8_lossy(image.config().app_path()).into_owned())
            .map_err(|error| Failure::new(error.to_string()))?;
        Ok(Self {
            payload,
            program,
            kernel_start: 0,
            areas: Vec::new(),
            files: HashMap::new(),
            stacks: BTreeMap::new(),
            samples: 0,
            idle: 0,
            lost: 0,
        })
    }

    /// Takes a record. `None`: it is not one of these, or makes no sense.
    pub fn add(&mut self, record: &str) -> Option<()> {
        let (word, rest) = record.split_once(' ').unwrap_or((record, ""));
        let mut words = rest.split(' ');
        match word {
            "kernel" => self.kernel_start = u64::from_str_radix(rest, 16).ok()?,
            "forget" => self.areas.clear(),
            "area" => {
                let mut words = rest.splitn(4, ' ');
                let mut next = || u64::from_str_radix(words.next()?, 16).ok();
                let (start, end, offset) = (next()?, next()?, next()?);
                self.areas.push(Area { start, end, offset, name: words.next().unwrap_or_default().to_owned() });
            }
            "sample" => {
                let (_cpu, tid) = (words.next()?, words.next()?);
                let top = u64::from_str_radix(words.next()?, 16).ok()?;
                let kernel_len: usize = words.next()?.parse().ok()?;
                let addresses: Option<Vec<u64>> = words.map(|word| u64::from_str_radix(word, 16).ok()).collect();
                let addresses = addresses.filter(|addresses| addresses.len() >= kernel_len)?;
                let (kernel, program) = addresses.split_at(kernel_len);
                let stack = self.stack(tid == "0", kernel, program, top);
                *self.stacks.entry(stack).or_default() += 1;
                self.samples += 1;
            }
            "idle" => self.idle += words.nth(1)?.parse::<u64>().ok()?,
            "lost" => self.lost += rest.parse::<u64>().ok()?,
            _ => return None,
        }
        Some(())
    }

    /// The names of a stack, from the outermost function on.
    fn stack(&mut self, is_worker: bool, kernel: &[u64], program: &[u64], top: u64) -> String {
        let mut names = vec![if is_worker { WORKERS.to_owned() } else { self.program.clone() }];
        let mut found = Vec::new();
        for (index, address) in program.iter().enumerate() {
            // A return address may be the first of the next function.
            let address = if index == 0 { *address } else { address.saturating_sub(1) };
            match self.program_function(address, index > 0) {
                Some(name) => found.push(name),
                None => break,
            }
            if index == 0 && program.get(1) != Some(&top) {
                found.extend(self.caller_without_frame(address, top));
            }
        }
        names.extend(found.into_iter().rev());
        for (index, address) in kernel.iter().enumerate().rev() {
            let address = if index == 0 { *address } else { address.saturating_sub(1) };
            names.push(self.kernel_function(address));
        }
        for name in &mut names {
            *name = name.replace(';', ":");
        }
        names.join(";")
    }

    /// The caller of the function at `address`, if that has no frame yet, or never: what is at the top of the stack lies behind a call of
    /// this very function.
    fn caller_without_frame(&mut self, address: u64, top: u64) -> Option<String> {
        let area = self.areas.iter().find(|area| (area.start..area.end).contains(&address))?;
        let symbols = self.files.get(&area.name)?.as_ref()?;
        let offset = |address: u64| address.checked_sub(area.start).map(|at| at + area.offset);
        let called = symbols.called_before(offset(top).filter(|_| top < area.end)?)?;
        if symbols.start(offset(address)?)? != called {
            return None;
        }
        self.program_function(top - 1, true)
    }

    fn kernel_function(&self, address: u64) -> String {
        let offset = address.wrapping_sub(self.kernel_start);
        let image = image_format::Image::parse(&self.payload).ok();
        match image.and_then(|image| image.kernel_symbols().lookup(offset)) {
            Some((name, _)) => format!("{name}{KERNEL_MARK}"),
            None => format!("[kernel]{KERNEL_MARK}"),
        }
    }

    /// The function at an address of the program. `None`: a return address that is none.
    fn program_function(&mut self, address: u64, is_return: bool) -> Option<String> {
        let Some(area) = self.areas.iter().find(|area| (area.start..area.end).contains(&address)) else {
            return (!is_return).then(|| "[unknown]".to_owned());
        };
        let unnamed = if area.name.is_empty() { "[anonymous]" } else { area.name.as_str() };
        let unnamed = if unnamed.starts_with('[') { unnamed.to_owned() } else { format!("[{unnamed}]") };
        let offset = address - area.start + area.offset;
        let payload = &self.payload;
        let symbols = self.files.entry(area.name.clone()).or_insert_with_key(|name| Symbols::of_file(payload, name));
        let Some(symbols) = symbols else { return (!is_return).then_some(unnamed) };
        if is_return && !symbols.is_behind_call(offset + 1) {
            return None;
        }
        Some(symbols.name(offset).map_or(unnamed, |name| format!("{:#}", demangle(name))))
    }

    /// The flame graph as an SVG file, and a line for the user about it.
    ///
    /// # Errors
    /// When nothing was sampled.
    pub fn finish(&self) -> Result<(Vec<u8>, String)> {
        if self.samples == 0 {
            return Err(Failure::new("the profile has no samples: the program ran too short, or waited all the time"));
        }
        let svg = flame_graph::draw(&format!("{}: {} samples", self.program, self.samples), &self.stacks).into_bytes();
        let lost = if self.lost > 0 { format!(", {} lost", self.lost) } else { String::new() };
        Ok((svg, format!("profile: {} samples, {} idle{lost}", self.samples, self.idle)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        Profile {
            payload: Vec::new(),
            program: "/prog".to_owned(),
            kernel_start: 0,
            areas: Vec::new(),
            files: HashMap::new(),
            stacks: BTreeMap::new(),
            samples: 0,
            idle: 0,
            lost: 0,
        }
    }

    #[test]
    fn samples_become_stacks() {
        let mut profile = profile();
        let symbols =
            Symbols::for_test(&[(0x10, "inner"), (0x20, "outer"), (0x30, "caller")], &[(0x25, 0), (0x35, 0x10)]);
        profile.files.insert("/prog".to_owned(), Some(symbols));
        for record in [
            "kernel ffffffff80000000",
            "area 400000 401000 0 /prog",
            // The second address lies behind a call, the third does not.
            "sample 0 1 0 0 400012 400025 400011",
            "sample 0 1 0 0 400012 400025",
            "sample 1 1 0 1 ffffffff80000010 400012",
            "sample 0 0 0 1 ffffffff80000010",
            "sample 0 1 0 0 7fff00000000",
            // A function without a frame: the top of the stack is behind a call of it, and behind one of another function.
            "sample 0 1 400035 0 400012",
            "sample 0 1 400025 0 400012",
            "idle 0 7",
            "lost 2",
        ] {
            profile.add(record).unwrap();
        }
        let stacks: Vec<(&str, u64)> = profile.stacks.iter().map(|(stack, count)| (stack.as_str(), *count)).collect();
        assert_eq!(
            stacks,
            [
                ("/prog;[unknown]", 1),
                ("/prog;caller;inner", 1),
                ("/prog;inner", 1),
                ("/prog;inner;[kernel]_[k]", 1),
                ("/prog;outer;inner", 2),
                ("kernel threads;[kernel]_[k]", 1)
            ]
        );
        let (svg, line) = profile.finish().unwrap();
        assert!(String::from_utf8(svg).unwrap().contains("outer (2 samples"));
        assert_eq!(line, "profile: 7 samples, 7 idle, 2 lost");
    }

    #[test]
    fn nonsense_is_refused() {
        let mut profile = profile();
        for record in ["", "other", "sample", "sample 0 1 0 3 10", "sample 0 1 0 0 xyz", "area 1 2", "idle 0", "lost x"]
        {
            assert!(profile.add(record).is_none(), "{record:?}");
        }
        assert!(profile.finish().is_err());
    }
}
