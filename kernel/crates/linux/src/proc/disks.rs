//! Disks and partitions: `/proc/diskstats`, `/proc/partitions` and what `/sys` has of block devices.
//!
//! In `/sys` a disk is below `devices/virtual/block`, where Linux puts those whose bus it does not show; the names elsewhere are links.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::stat::{device_major, device_minor};
use block::{Disk, DiskStatistics, OperationFigures, Volume};
use sync::machine;
use vfs::FileKind;
use vfs::fs::disk;
use vfs::fs::generated::{Directory, ListedNode, Node, Row};

use super::text::{Text, line};
use crate::system::System;

const NANOSECONDS_PER_MILLISECOND: u64 = 1_000_000;

/// A disk, or a part of one.
pub(super) struct BlockDevice {
    volume: Volume,
    name: String,
    /// The number of the partition; 0 for the whole disk.
    partition: u32,
}

impl BlockDevice {
    fn new(volume: Volume) -> Self {
        let disk = volume.disk();
        let partition = device_minor(volume.number()).wrapping_sub(device_minor(disk.number()));
        let name = if partition == 0 { disk.name().into() } else { format!("{}{partition}", disk.name()) };
        Self { volume, name, partition }
    }

    fn is_whole(&self) -> bool {
        self.partition == 0
    }

    fn disk(&self) -> &Arc<Disk> {
        self.volume.disk()
    }

    fn number(&self) -> String {
        let number = self.volume.number();
        format!("{}:{}", device_major(number), device_minor(number))
    }

    /// Where it is below `/sys`.
    fn path(&self) -> String {
        let disk = self.disk().name();
        if self.is_whole() {
            format!("devices/virtual/block/{disk}")
        } else {
            format!("devices/virtual/block/{disk}/{}", self.name)
        }
    }
}

/// All disks and partitions.
pub(super) fn devices() -> Vec<BlockDevice> {
    disk::volumes().into_iter().map(BlockDevice::new).collect()
}

/// All disks.
pub(super) fn disks() -> Vec<Arc<Disk>> {
    devices().iter().filter(|device| device.is_whole()).map(|device| Arc::clone(device.disk())).collect()
}

// ---- /proc ----------------------------------------------------------------------------------------------------------

/// The figures of a device in Linux's order: reads, writes, what is under way, discards, flushes.
fn figures(statistics: &DiskStatistics) -> [u64; 17] {
    let milliseconds = |time_ns: u64| time_ns / NANOSECONDS_PER_MILLISECOND;
    let of =
        |figures: OperationFigures| [figures.requests, figures.merges, figures.sectors, milliseconds(figures.time_ns)];
    let [reads, read_merges, read_sectors, read_ms] = of(statistics.reads());
    let [writes, write_merges, written_sectors, write_ms] = of(statistics.writes());
    let [discards, discard_merges, discarded_sectors, discard_ms] = of(statistics.discards());
    let [flushes, _, _, flush_ms] = of(statistics.flushes());
    let busy_ms = milliseconds(statistics.busy_ns(machine::now_ns()));
    let waited_ms = read_ms + write_ms + discard_ms + flush_ms;
    [
        reads,
        read_merges,
        read_sectors,
        read_ms,
        writes,
        write_merges,
        written_sectors,
        write_ms,
        statistics.under_way(),
        busy_ms,
        waited_ms,
        discards,
        discard_merges,
        discarded_sectors,
        discard_ms,
        flushes,
        flush_ms,
    ]
}

pub(super) fn diskstats(_system: &System) -> Vec<u8> {
    let mut text = Text::new();
    for device in &devices() {
        let number = device.volume.number();
        text.put(format_args!("{:4} {:7} {}", device_major(number), device_minor(number), device.name));
        for figure in figures(device.volume.statistics()) {
            text.put(format_args!(" {figure}"));
        }
        text.byte(b'\n');
    }
    text.into_bytes()
}

pub(super) fn partitions(_system: &System) -> Vec<u8> {
    let devices = devices();
    let mut text = Text::new();
    if !devices.is_empty() {
        text.line(format_args!("major minor  #blocks  name\n"));
    }
    for device in devices {
        let number = device.volume.number();
        let kib = device.volume.len_bytes() / 1024;
        text.line(format_args!("{:4}  {:7} {kib:10} {}", device_major(number), device_minor(number), device.name));
    }
    text.into_bytes()
}

// ---- /sys -----------------------------------------------------------------------------------------------------------

/// The directory or link that `node` makes of each device that `is_there`, under the name that `name_of` gives it.
fn each(
    is_there: impl Fn(&BlockDevice) -> bool + Clone + Send + Sync + 'static,
    name_of: fn(&BlockDevice) -> String,
    kind: FileKind,
    node: impl Fn(BlockDevice) -> Node + Send + Sync + 'static,
) -> Directory {
    let listed = is_there.clone();
    Directory::new().changing(
        move |name, _| {
            devices().into_iter().find(|device| is_there(device) && name_of(device).as_bytes() == name).map(&node)
        },
        move |give| {
            for (order, device) in (0..).zip(devices()).filter(|(_, device)| listed(device)) {
                give(ListedNode { name: name_of(&device).as_bytes(), order, kind });
            }
        },
    )
}

/// A link that leads to a device from a directory so many levels below `/sys`.
fn link(device: &BlockDevice, levels: usize) -> Node {
    let target = format!("{}{}", "../".repeat(levels), device.path()).into_bytes();
    Node::link(move |_| Ok(target.clone()))
}

fn name(device: &BlockDevice) -> String {
    device.name.clone()
}

/// `block`: links to the disks.
pub(super) fn block_links(_system: &Arc<System>) -> Directory {
    each(BlockDevice::is_whole, name, FileKind::Symlink, |device| link(&device, 1))
}

/// `class/block`: links to disks and partitions.
pub(super) fn class_links(_system: &Arc<System>) -> Directory {
    each(|_| true, name, FileKind::Symlink, |device| link(&device, 2))
}

/// `dev/block`: the same by number.
pub(super) fn number_links(_system: &Arc<System>) -> Directory {
    each(|_| true, BlockDevice::number, FileKind::Symlink, |device| link(&device, 2))
}

/// `devices/virtual/block`: the disks themselves.
pub(super) fn directories(_system: &Arc<System>) -> Directory {
    each(BlockDevice::is_whole, name, FileKind::Directory, |device| {
        let number = device.disk().number();
        let parts = each(
            move |part| !part.is_whole() && part.disk().number() == number,
            name,
            FileKind::Directory,
            |part| {
                let part = Arc::new(part);
                Node::directory(0o755, Directory::of(DEVICE_FILES, &part).and(PARTITION_FILES, &part))
            },
        );
        let disk = Arc::new(device);
        Node::directory(0o755, parts.and(DEVICE_FILES, &disk).and(DISK_FILES, &disk))
    })
}

const DEVICE_FILES: &[Row<BlockDevice>] = &[
    Row::text("alignment_offset", "0\n"),
    Row::file("dev", |device| line(device.number())),
    Row::text("discard_alignment", "0\n"),
    Row::directory("holders", 0o755, |_| Directory::new()),
    Row::file("inflight", |device| line(format_args!("{:8} {:8}", device.volume.statistics().under_way(), 0))),
    Row::file("ro", |device| line(u8::from(device.volume.is_read_only()))),
    Row::file("size", |device| line(device.volume.sectors())),
    Row::file("stat", figures_line),
    Row::link("subsystem", |device, _| {
        let levels = if device.is_whole() { 4 } else { 5 };
        Ok(format!("{}class/block", "../".repeat(levels)).into_bytes())
    }),
    Row::file("uevent", events).with_permissions(0o644),
];

const DISK_FILES: &[Row<BlockDevice>] = &[
    Row::text("capability", "0\n"),
    Row::text("events", "\n"),
    Row::text("ext_range", "256\n"),
    Row::text("hidden", "0\n"),
    Row::directory("queue", 0o755, |disk| Directory::of(QUEUE_FILES, disk)),
    Row::text("range", "16\n"),
    Row::text("removable", "0\n"),
    Row::file("serial", |disk| disk.disk().serial().as_bytes().to_vec()),
    Row::directory("slaves", 0o755, |_| Directory::new()),
];

const PARTITION_FILES: &[Row<BlockDevice>] =
    &[Row::file("partition", |part| line(part.partition)), Row::file("start", |part| line(part.volume.first_sector()))];

const QUEUE_FILES: &[Row<BlockDevice>] = &[
    Row::text("add_random", "0\n"),
    Row::file("discard_granularity", |disk| {
        let can = disk.disk().features().can_discard;
        line(if can { disk.disk().limits().logical_block_len } else { 0 })
    }),
    Row::file("discard_max_bytes", |disk| {
        let can = disk.disk().features().can_discard;
        line(if can { disk.disk().limits().range_sectors_max * block::SECTOR_LEN as u64 } else { 0 })
    }),
    Row::file("fua", |disk| line(u8::from(disk.disk().features().can_force))),
    Row::file("hw_sector_size", |disk| line(disk.disk().limits().logical_block_len)),
    Row::file("logical_block_size", |disk| line(disk.disk().limits().logical_block_len)),
    Row::file("max_hw_sectors_kb", |disk| line(disk.disk().limits().data_sectors_max / 2)),
    Row::file("max_sectors_kb", |disk| line(disk.disk().limits().data_sectors_max / 2)),
    Row::file("max_segments", |disk| line(disk.disk().limits().segments_max)),
    Row::file("minimum_io_size", |disk| line(disk.disk().limits().physical_block_len)),
    Row::text("nr_zones", "0\n"),
    Row::text("optimal_io_size", "0\n"),
    Row::file("physical_block_size", |disk| line(disk.disk().limits().physical_block_len)),
    Row::text("rotational", "0\n"),
    // Requests go to the device as they come.
    Row::text("scheduler", "[none]\n"),
    Row::file("write_cache", |disk| {
        line(if disk.disk().features().has_volatile_cache { "write back" } else { "write through" })
    }),
    Row::text("zoned", "none\n"),
];

fn figures_line(device: &BlockDevice) -> Vec<u8> {
    let mut text = Text::new();
    for (index, figure) in figures(device.volume.statistics()).into_iter().enumerate() {
        if index > 0 {
            text.byte(b' ');
        }
        text.put(format_args!("{figure:8}"));
    }
    text.byte(b'\n');
    text.into_bytes()
}

fn events(device: &BlockDevice) -> Vec<u8> {
    let number = device.volume.number();
    let mut text = Text::new();
    text.line(format_args!("MAJOR={}\nMINOR={}", device_major(number), device_minor(number)));
    text.line(format_args!("DEVNAME={}", device.name));
    if device.is_whole() {
        text.line(format_args!("DEVTYPE=disk"));
    } else {
        text.line(format_args!("DEVTYPE=partition\nPARTN={}", device.partition));
    }
    text.into_bytes()
}
