//! What the writer writes, the reader reads; what is damaged, it refuses or reads within bounds.
#![cfg(feature = "write")]
#![expect(clippy::unwrap_used, reason = "a test that cannot build its input has failed")]
#![expect(clippy::cast_possible_truncation, reason = "random numbers are cut to size on purpose")]

use image_format::layout::{EntryRecord, Extent, Header, InodeRecord, Section};
use image_format::packed::CHUNK_SIZE;
use image_format::write::{ConfigSource, Content, Metadata, Payload, SpecialKind, SymbolSource, Tree, TreeError};
use image_format::{
    Image, ImageError, InodeIndex, Kind, MAGIC, PAGE_SIZE, PLACEHOLDER, Patch, SYMBOL_NAME_LEN_MAX, Site, SiteKind,
};
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, IntoBytes};

const SEED: u64 = 0x6e61_6372_6531;

fn file(tree: &mut Tree, path: &[u8], content: Vec<u8>) -> image_format::write::NodeId {
    let mut names: Vec<_> = path.split(|&byte| byte == b'/').collect();
    let name = names.pop().unwrap();
    let mut directory = tree.root();
    for part in names {
        directory = match tree.child(directory, part) {
            Some(id) => id,
            None => tree.add_directory(directory, part, Metadata::with_permissions(0o755)).unwrap(),
        };
    }
    tree.add_file(directory, name, Metadata::with_permissions(0o640), Content::Bytes(content)).unwrap()
}

fn site(file_offset: u64, original: u8) -> Site {
    Site { file_offset, kind: SiteKind::Privileged, original }
}

fn system_call(file_offset: u64) -> Site {
    let patch = Patch {
        length: 5,
        syscall_at: 5,
        starts: 1,
        is_r11_dead: true,
        are_flags_dead: true,
        checksum: Patch::checksum_of(&[0xcc; 5]),
    };
    Site { file_offset, kind: SiteKind::Syscall(patch), original: 0xcc }
}

fn symbol(offset: u32, name: &str) -> SymbolSource {
    SymbolSource { offset, name: name.to_owned() }
}

fn sample() -> Payload {
    let mut tree = Tree::new();
    let app = file(&mut tree, b"bin/app", vec![0xcc; 10_000]);
    tree.set_sites(app, vec![site(17, 0xf4), site(4096, 0xfa), system_call(4097), site(9999, 0xcd)]);
    let bin = tree.find(b"/bin").unwrap();
    tree.add_hard_link(bin, b"twin", app).unwrap();
    file(&mut tree, b"etc/passwd", b"root:x:0:0::/:/bin/sh\n".to_vec());
    file(&mut tree, b"etc/empty", Vec::new());
    file(&mut tree, b"exact", vec![7; 4096]);
    let root = tree.root();
    let metadata = Metadata { permissions: 0o1777, uid: 3, gid: 4, modified_ns: -5 };
    tree.add_directory(root, b"tmp", metadata).unwrap();
    tree.add_link(root, b"link", Metadata::with_permissions(0o777), b"bin/app").unwrap();
    tree.add_special(root, b"fifo", Metadata::with_permissions(0o600), SpecialKind::Fifo, 0).unwrap();
    tree.add_special(root, b"null", Metadata::with_permissions(0o666), SpecialKind::CharacterDevice, 0x103).unwrap();
    Payload {
        config: ConfigSource {
            app_path: b"/bin/app".to_vec(),
            arguments: vec![b"app".to_vec(), b"".to_vec(), b"two words".to_vec()],
            environment: vec![b"A=1".to_vec()],
            cwd: b"/tmp".to_vec(),
            hostname: b"shell".to_vec(),
            network: "10.0.0.2/24".into(),
            root_kind: "ext4".into(),
            required_memory: 123_456,
        },
        tree,
        symbols: vec![
            symbol(0x900, ""),
            symbol(0x100, "crate::first"),
            symbol(0x180, "crate::s\u{e9}cond"),
            symbol(0x200, "crate::first"),
            symbol(0x280, &"long".repeat(100)),
        ],
        is_packed: false,
    }
}

#[test]
fn config_comes_back() {
    let bytes = sample().to_bytes().unwrap();
    let image = Image::parse(&bytes).unwrap();
    let config = image.config();
    assert_eq!(config.app_path(), b"/bin/app");
    assert_eq!(config.arguments().collect::<Vec<_>>(), [&b"app"[..], b"", b"two words"]);
    assert_eq!(config.environment().collect::<Vec<_>>(), [b"A=1"]);
    assert_eq!((config.cwd(), config.hostname()), (&b"/tmp"[..], &b"shell"[..]));
    assert_eq!(config.network(), "10.0.0.2/24");
    assert_eq!(config.root_kind(), "ext4");
    assert_eq!(Image::root_kind_of(&bytes[..4096]), Ok("ext4"));
    assert_eq!(image.required_memory(), 123_456);
    assert_eq!(Image::required_memory_of(&bytes[..4096]), Ok(123_456));
    assert_eq!(image.total_size(), bytes.len() as u64);
    assert_eq!(Image::total_size_of(&bytes[..image_format::layout::HEADER_SIZE]), Ok(bytes.len() as u64));
}

#[test]
fn archive_comes_back() {
    let bytes = sample().to_bytes().unwrap();
    let archive = Image::parse(&bytes).unwrap().archive();
    let names: Vec<_> = archive.entries(archive.root()).map(|entry| entry.unwrap().name).collect();
    assert_eq!(names, [&b"bin"[..], b"etc", b"exact", b"fifo", b"link", b"null", b"tmp"]);
    assert_eq!(archive.entry(archive.root(), 3).unwrap().map(|entry| entry.kind), Some(Kind::Fifo));
    assert_eq!(archive.entry(archive.root(), 7), Ok(None));
    assert_eq!(archive.inode(archive.root()).unwrap().links, 5);

    let bin = archive.lookup(archive.root(), b"bin").unwrap().unwrap();
    let app = archive.lookup(bin, b"app").unwrap().unwrap();
    assert_eq!(archive.lookup(bin, b"twin"), Ok(Some(app)));
    assert_eq!(archive.lookup(bin, b"ap"), Ok(None));
    assert_eq!(archive.lookup(app, b"app"), Ok(None));
    let inode = archive.inode(app).unwrap();
    assert_eq!((inode.kind, inode.mode, inode.links, inode.size), (Kind::File, 0o100_640, 2, 10_000));
    assert!(archive.data(app).iter().all(|&byte| byte == 0xcc) && archive.data(app).len() == 10_000);

    let link = archive.lookup(archive.root(), b"link").unwrap().unwrap();
    assert_eq!(archive.link_target(link), b"bin/app");
    assert_eq!(archive.data(link), b"");
    let null = archive.lookup(archive.root(), b"null").unwrap().unwrap();
    assert_eq!(archive.inode(null).unwrap().device, 0x103);
    let tmp = archive.lookup(archive.root(), b"tmp").unwrap().unwrap();
    let inode = archive.inode(tmp).unwrap();
    assert_eq!((inode.mode, inode.uid, inode.gid, inode.modified_ns), (0o041_777, 3, 4, -5));
}

#[test]
fn pages_are_aligned_and_zero_filled() {
    let bytes = sample().to_bytes().unwrap();
    let archive = Image::parse(&bytes).unwrap().archive();
    let bin = archive.lookup(archive.root(), b"bin").unwrap().unwrap();
    let app = archive.lookup(bin, b"app").unwrap().unwrap();
    let start = archive.data(app).as_ptr() as usize - bytes.as_ptr() as usize;
    assert_eq!(start as u64 % PAGE_SIZE, 0);
    assert_eq!(archive.page(app, 0).map(<[u8]>::len), Some(4096));
    let last = archive.page(app, 2).unwrap();
    assert!(last[..10_000 - 8192].iter().all(|&byte| byte == 0xcc));
    assert!(last[10_000 - 8192..].iter().all(|&byte| byte == 0));
    assert_eq!(archive.page(app, 3), None);
    assert_eq!(archive.page(app, u64::MAX), None);
    let exact = archive.lookup(archive.root(), b"exact").unwrap().unwrap();
    assert_eq!((archive.page(exact, 0).is_some(), archive.page(exact, 1)), (true, None));
    let etc = archive.lookup(archive.root(), b"etc").unwrap().unwrap();
    assert_eq!(archive.page(archive.lookup(etc, b"passwd").unwrap().unwrap(), 0), None);
}

#[test]
fn a_part_of_any_file_lies_in_a_page_of_the_payload() {
    let bytes = sample().to_bytes().unwrap();
    let archive = Image::parse(&bytes).unwrap().archive();
    let find = |directory: &[u8], name: &[u8]| {
        let directory = archive.lookup(archive.root(), directory).unwrap().unwrap();
        archive.lookup(directory, name).unwrap().unwrap()
    };
    for file in [find(b"etc", b"passwd"), find(b"bin", b"app")] {
        let data = archive.data(file);
        let len = data.len().min(PAGE_SIZE as usize);
        let (page, start) = archive.page_around(file, 0, len as u64).unwrap();
        assert_eq!(&page[start..start + len], &data[..len]);
        assert_eq!((page.as_ptr() as u64 - bytes.as_ptr() as u64) % PAGE_SIZE, 0);
        let (page, start) = archive.page_around(file, 3, 2).unwrap();
        assert_eq!(&page[start..start + 2], &data[3..5]);
        assert_eq!(archive.page_around(file, 0, data.len() as u64 + 1), None);
        assert_eq!(archive.page_around(file, u64::MAX, 1), None);
        assert_eq!(archive.page_around(file, 1, PAGE_SIZE), None, "two pages");
    }
}

#[test]
fn a_small_file_lies_in_one_page() {
    let mut payload = sample();
    for number in 0..20u8 {
        file(&mut payload.tree, &[b'd', b'/', b'a' + number], vec![number; 600 + usize::from(number)]);
    }
    let bytes = payload.to_bytes().unwrap();
    let image = Image::parse(&bytes).unwrap();
    let archive = image.archive();
    let directory = archive.lookup(archive.root(), b"d").unwrap().unwrap();
    for number in 0..20u8 {
        let found = archive.lookup(directory, &[b'a' + number]).unwrap().unwrap();
        let len = archive.data(found).len();
        let (page, start) = archive.page_around(found, 0, len as u64).unwrap();
        assert_eq!(page[start..start + len], vec![number; 600 + usize::from(number)]);
    }
}

#[test]
fn sites_are_found_by_range() {
    let bytes = sample().to_bytes().unwrap();
    let image = Image::parse(&bytes).unwrap();
    let bin = image.archive().lookup(image.archive().root(), b"bin").unwrap().unwrap();
    let app = image.archive().lookup(bin, b"app").unwrap().unwrap();
    let sites = image.sites(app).unwrap().unwrap();
    assert_eq!(sites.collect::<Vec<_>>(), [site(17, 0xf4), site(4096, 0xfa), system_call(4097), site(9999, 0xcd)]);
    assert_eq!(sites.in_range(18, 9999).collect::<Vec<_>>(), [site(4096, 0xfa), system_call(4097)]);
    assert!(sites.in_range(0, 17).is_empty() && sites.in_range(10_000, u64::MAX).is_empty());
    assert_eq!(image.sites(bin).map(|sites| sites.is_none()), Ok(true));
}

#[test]
fn symbols_are_found_by_offset() {
    let bytes = sample().to_bytes().unwrap();
    let symbols = Image::parse(&bytes).unwrap().kernel_symbols();
    let found = |offset| symbols.lookup(offset).map(|(name, distance)| (name.to_string(), distance));
    let function = |name: &str, distance| Some((name.to_owned(), distance));
    assert_eq!(symbols.count(), 4);
    assert_eq!(found(0xff), None);
    assert_eq!(found(0x100), function("crate::first", 0));
    assert_eq!(found(0x17f), function("crate::first", 0x7f));
    assert_eq!(found(0x1ff), function("crate::s?cond", 0x7f));
    assert_eq!(found(0x200), function("crate::first", 0));
    assert_eq!(found(0x8ff), function(&"long".repeat(100)[..SYMBOL_NAME_LEN_MAX], 0x67f));
    assert_eq!(found(0x900), None);
    assert_eq!(found(u64::MAX), None);
}

#[test]
fn smallest_payload_has_an_empty_root() {
    let bytes = Payload::default().to_bytes().unwrap();
    assert_eq!(bytes.len() as u64, PAGE_SIZE);
    let image = Image::parse(&bytes).unwrap();
    assert_eq!(image.archive().entries(image.archive().root()).count(), 0);
    assert_eq!(image.config().arguments().count(), 0);
    assert!(image.kernel_symbols().lookup(0).is_none());
}

#[test]
fn writing_twice_gives_the_same_bytes() {
    assert_eq!(sample().to_bytes().unwrap(), sample().to_bytes().unwrap());
}

#[test]
fn changed_host_file_is_an_error() {
    let path = std::env::temp_dir().join(format!("nacre-payload-{}", std::process::id()));
    std::fs::write(&path, b"12345").unwrap();
    for (size, is_right) in [(4, false), (5, true), (6, false)] {
        let mut payload = Payload::default();
        let root = payload.tree.root();
        let content = Content::HostFile { path: path.clone(), size };
        payload.tree.add_file(root, b"file", Metadata::with_permissions(0o644), content).unwrap();
        assert_eq!(payload.to_bytes().is_ok(), is_right, "size {size}");
    }
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn tree_refuses_what_no_file_system_has() {
    let mut tree = Tree::new();
    let root = tree.root();
    let metadata = Metadata::with_permissions(0o644);
    let content = || Content::Bytes(Vec::new());
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0", &[b'x'; 256]] {
        assert_eq!(tree.add_file(root, name, metadata, content()), Err(TreeError::BadName(name.to_vec())));
    }
    let plain = tree.add_file(root, &[b'x'; 255], metadata, content()).unwrap();
    assert_eq!(tree.add_file(plain, b"a", metadata, content()), Err(TreeError::NotADirectory));
    assert_eq!(tree.add_hard_link(root, &[b'x'; 255], plain), Err(TreeError::Exists(vec![b'x'; 255])));
    assert_eq!(tree.add_hard_link(root, b"self", root), Err(TreeError::DirectoryLink));
    assert_eq!(tree.add_link(root, b"l", metadata, b""), Err(TreeError::BadTarget));
    assert_eq!(tree.add_link(root, b"l", metadata, &[b'x'; 4096]), Err(TreeError::BadTarget));
}

#[test]
fn other_bytes_are_refused() {
    let bytes = sample().to_bytes().unwrap();
    assert_eq!(Image::parse(&[]).err(), Some(ImageError::Truncated));
    assert_eq!(Image::parse(&bytes[..bytes.len() - 1]).err(), Some(ImageError::Truncated));
    let mut other = bytes.clone();
    other[..16].copy_from_slice(&PLACEHOLDER);
    assert_eq!(Image::parse(&other).err(), Some(ImageError::Empty));
    other[..16].copy_from_slice(b"\x7fELF............");
    assert_eq!(Image::parse(&other).err(), Some(ImageError::BadMagic));
    other[..16].copy_from_slice(&MAGIC);
    other[16] = 99;
    assert_eq!(Image::parse(&other).err(), Some(ImageError::BadVersion));
}

/// Reads everything an image offers. Directories are walked, so a circle would never end.
fn read_all(image: &Image<'_>) -> usize {
    let archive = image.archive();
    let mut seen = image.config().arguments().chain(image.config().environment()).map(<[u8]>::len).sum::<usize>();
    for number in 0..u32::try_from(archive.inode_count()).unwrap() {
        let index = archive.index(number).unwrap();
        seen += archive.data(index).len() + archive.link_target(index).len();
        seen += archive.inode(index).map_or(0, |inode| inode.links as usize);
        seen += archive.page(index, 0).map_or(0, <[u8]>::len);
        if let Some(packed) = archive.packed(index) {
            let mut chunk = vec![0; CHUNK_SIZE];
            seen +=
                (0..packed.chunk_count()).filter_map(|number| packed.unpack(number, &mut chunk).ok()).sum::<usize>();
        }
        if let Ok(Some(sites)) = image.sites(index) {
            assert_eq!((sites.len(), sites.in_range(0, u64::MAX).len()), (sites.count(), sites.len()));
            seen += sites.map(|site| usize::from(site.original)).sum::<usize>();
        }
    }
    seen + walk(image, archive.root())
        + (0..0x1000).step_by(0x40).filter_map(|at| image.kernel_symbols().lookup(at)).count()
}

fn walk(image: &Image<'_>, directory: InodeIndex) -> usize {
    let archive = image.archive();
    let below = |entry: image_format::Entry<'_>| {
        // Out of order, a name may not be found, or twice.
        assert!(
            archive
                .lookup(directory, entry.name)
                .is_ok_and(|found| found.is_none_or(|found| archive.index(found.number()).is_some()))
        );
        if entry.kind == Kind::Directory && entry.inode > directory { walk(image, entry.inode) } else { 1 }
    };
    archive.entries(directory).take(1000).filter_map(Result::ok).map(below).sum()
}

fn next_random(state: &mut u64) -> u64 {
    // SplitMix64.
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A payload with a packed file of two chunks beside others.
fn packed_sample() -> Payload {
    let mut payload = sample();
    let text: Vec<u8> = (0..CHUNK_SIZE + 9_000).map(|at| (at / 50 % 7).to_le_bytes()[0]).collect();
    file(&mut payload.tree, b"text", text);
    let mut state = SEED;
    file(&mut payload.tree, b"noise", (0..10_000).map(|_| next_random(&mut state) as u8).collect());
    Payload { is_packed: true, ..payload }
}

#[test]
fn packed_files_come_back() {
    let (plain, packed) = (Payload { is_packed: false, ..packed_sample() }, packed_sample());
    let (plain, packed) = (plain.to_bytes().unwrap(), packed.to_bytes().unwrap());
    assert!(packed.len() < plain.len() - CHUNK_SIZE);
    let (plain, packed) = (Image::parse(&plain).unwrap().archive(), Image::parse(&packed).unwrap().archive());
    let mut packed_count = 0;
    for number in 0..u32::try_from(plain.inode_count()).unwrap() {
        let index = plain.index(number).unwrap();
        assert_eq!(plain.inode(index), packed.inode(index));
        assert!(plain.packed(index).is_none());
        let Some(contents) = packed.packed(index) else {
            assert_eq!(plain.data(index), packed.data(index));
            continue;
        };
        packed_count += 1;
        assert!(packed.data(index).is_empty() && packed.page(index, 0).is_none());
        assert_eq!(contents.unpack_all().unwrap(), plain.data(index));
        assert_eq!(contents.unpack(contents.chunk_count(), &mut [0; CHUNK_SIZE]), Err(ImageError::BadContents));
    }
    // The program, the page of sevens, the text; not the noise, and not what is small.
    assert_eq!(packed_count, 3);
}

/// Nothing is looked at but what is used. Every record, name and content that is not on the way is spoiled; if anything looked at
/// them, parsing and finding would fail.
#[test]
fn finding_a_file_looks_at_nothing_else() {
    const FILES: usize = 10_000;
    let mut payload = Payload::default();
    for number in 0..FILES {
        file(&mut payload.tree, format!("{:02}/{number}", number % 100).as_bytes(), number.to_string().into_bytes());
    }
    let mut bytes = payload.to_bytes().unwrap();
    let (inodes, entries, wanted, directory) = {
        let (header, _) = Header::ref_from_prefix(&bytes).unwrap();
        let archive = Image::parse(&bytes).unwrap().archive();
        let directory = archive.lookup(archive.root(), b"42").unwrap().unwrap();
        let wanted = archive.lookup(directory, b"4242").unwrap().unwrap();
        (header.section(Section::Inodes), header.section(Section::Entries), wanted, directory)
    };
    let start = |extent: Extent| extent.offset.get() as usize;
    let mut spoiled = 0;
    for number in 1..inodes.size.get() as usize / size_of::<InodeRecord>() {
        if number != wanted.number() as usize && number != directory.number() as usize {
            let at = start(inodes) + number * size_of::<InodeRecord>();
            bytes[at..at + size_of::<InodeRecord>()].fill(0xff);
            spoiled += 1;
        }
    }
    // The entries of other directories: those of the root come first, then those of each directory.
    let own = 100 + 42 * 100..100 + 43 * 100;
    for number in (100..100 + FILES).filter(|number| !own.contains(number)) {
        let at = start(entries) + number * size_of::<EntryRecord>();
        bytes[at..at + size_of::<EntryRecord>()].fill(0xff);
        spoiled += 1;
    }
    assert_eq!(spoiled, 99 + FILES - 1 + FILES - 100);
    let archive = Image::parse(&bytes).unwrap().archive();
    let found = archive.lookup(directory, b"4242").unwrap().unwrap();
    assert_eq!((found, archive.data(found)), (wanted, &b"4242"[..]));
    assert_eq!(archive.lookup(archive.root(), b"42"), Ok(Some(directory)));
    // What is spoiled is an error for whoever wants it.
    assert_eq!(archive.lookup(archive.root(), b"41"), Err(ImageError::BadEntry));
    assert_eq!(archive.inode(archive.index(wanted.number() + 1).unwrap()), Err(ImageError::BadInode));
}

/// In the directory itself a bisection looks at as many entries as it must: spoiling any one of 1,024 fails at most eleven lookups' way.
#[test]
fn finding_a_name_is_a_bisection() {
    const FILES: usize = 1024;
    let mut payload = Payload::default();
    for number in 0..FILES {
        file(&mut payload.tree, format!("{number:04}").as_bytes(), Vec::new());
    }
    let bytes = payload.to_bytes().unwrap();
    let (header, _) = Header::ref_from_prefix(&bytes).unwrap();
    let start = header.section(Section::Entries).offset.get() as usize;
    let mut looked_at = 0;
    for number in (0..FILES).filter(|number| *number != 700) {
        let mut spoiled = bytes.clone();
        // The name becomes empty, which sends a bisection that looks at it to the wrong side of one below.
        let at = start + number * size_of::<EntryRecord>();
        let record = EntryRecord { name: U64::new(u64::MAX), ..EntryRecord::default() };
        spoiled[at..at + size_of::<EntryRecord>()].copy_from_slice(record.as_bytes());
        let archive = Image::parse(&spoiled).unwrap().archive();
        looked_at += usize::from(archive.lookup(archive.root(), b"0700") == Ok(None));
    }
    assert!(looked_at <= 11, "{looked_at} entries are looked at");
}

#[test]
fn every_single_damaged_byte_is_survived() {
    let bytes = sample().to_bytes().unwrap();
    let metadata_end = 2500.min(bytes.len());
    let mut refused = 0;
    for position in 0..metadata_end {
        for value in [0, 1, 0xff] {
            let mut damaged = bytes.clone();
            damaged[position] = value;
            match Image::parse(&damaged) {
                Ok(image) => assert!(read_all(&image) < usize::MAX),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 100, "only {refused} damaged payloads were refused");
}

#[test]
fn random_damage_is_survived() {
    println!("seed {SEED:#x}");
    let mut state = SEED;
    let bytes = packed_sample().to_bytes().unwrap();
    for _ in 0..1_000 {
        let mut damaged = bytes.clone();
        for _ in 0..=next_random(&mut state) % 4 {
            let position = next_random(&mut state) as usize % 4000;
            let interesting = [next_random(&mut state), 0, u64::MAX, 1 << 63, PAGE_SIZE, bytes.len() as u64];
            let value = interesting[next_random(&mut state) as usize % interesting.len()].to_le_bytes();
            let width = [1, 2, 4, 8][next_random(&mut state) as usize % 4];
            damaged[position..position + width].copy_from_slice(&value[..width]);
        }
        damaged.truncate(if next_random(&mut state).is_multiple_of(8) {
            next_random(&mut state) as usize % bytes.len()
        } else {
            bytes.len()
        });
        if let Ok(image) = Image::parse(&damaged) {
            assert!(read_all(&image) < usize::MAX);
        }
    }
}
