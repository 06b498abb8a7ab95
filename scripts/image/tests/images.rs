//! Whole images from programs compiled here, and the analysis of what compilers make.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its input has failed")]

use std::fs::{self, File};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

use goblin::elf::Elf;
use goblin::elf::program_header::PT_LOAD;
use image_builder::analysis::analyse;
use image_builder::build::{Request, build};
use image_builder::kernel_file::read_memory;
use image_format::{Image, Kind, PAGE_SIZE, SiteKind};

const PROGRAM: &str = r#"
__attribute__((noinline, used)) static int pointed(int n) { __asm__ volatile("cli; hlt"); return n + 1; }
__attribute__((noinline, used)) static int other(int n) { __asm__ volatile("int $0x42"); return n - 1; }
int (*const table[])(int) = {pointed, other};
int (*volatile chosen)(int);
int buffer[10000];
void _start(void) {
    long status = 0;
    chosen = table[buffer[1] & 1];
    status = chosen(41);
    __asm__ volatile("syscall" :: "a"(60), "D"(status));
    __asm__ volatile("hlt");
}
"#;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nacre-images-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn compile(&self, name: &str, options: &[&str]) -> PathBuf {
        let source = self.path("program.c");
        fs::write(&source, PROGRAM).unwrap();
        let output = self.path(name);
        let base = ["-O2", "-ffreestanding", "-nostdlib", "-static", "-fno-stack-protector"];
        let status = Command::new("cc").args(base).args(options).arg("-o").arg(&output).arg(&source).status().unwrap();
        assert!(status.success());
        output
    }

    fn kernel(&self) -> PathBuf {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/qemu/triple_fault.s");
        let output = self.path("kernel");
        let options = ["-nostdlib", "-static", "-no-pie", "-g", "-x", "assembler"];
        let layout =
            "-Wl,-Ttext-segment=0x100000,--build-id=none,-e,pvh_entry,-z,noexecstack,--section-start=.payload=0x200000";
        let status = Command::new("cc").args(options).arg(source).arg(layout).arg("-o").arg(&output).status().unwrap();
        assert!(status.success());
        output
    }

    fn request(&self, app: PathBuf) -> Request {
        let (kernel, output) = (self.kernel(), self.path("image"));
        Request { app, kernel, output, ..Request::default() }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The payload of an image, as the boot loader would place it.
fn payload(image: &[u8]) -> &[u8] {
    let elf = Elf::parse(image).unwrap();
    assert_eq!((elf.header.e_shoff, elf.header.e_shnum), (0, 0));
    let header = elf.program_headers.iter().rfind(|header| header.p_type == PT_LOAD).unwrap();
    assert_eq!((header.p_offset % PAGE_SIZE, header.p_vaddr % PAGE_SIZE, header.p_memsz), (0, 0, header.p_filesz));
    &image[header.file_range()]
}

#[test]
fn image_holds_everything() {
    let scratch = Scratch::new("whole");
    let files = scratch.path("files");
    fs::create_dir_all(files.join("data")).unwrap();
    fs::write(files.join("data/file"), vec![b'x'; 5000]).unwrap();
    let mut request = scratch.request(scratch.compile("app", &[]));
    request.files = Some(files);
    request.arguments = vec![b"one".to_vec(), b"two three".to_vec()];
    request.environment = vec![b"HOME=/data".to_vec(), b"B=2".to_vec()];
    request.cwd = Some("/data".into());
    let summary = build(&request).unwrap();
    let bytes = fs::read(&request.output).unwrap();
    assert_eq!(summary.image_size, u64::try_from(bytes.len()).unwrap());
    let [(_, analysis)] = &summary.analyses[..] else { panic!("one program was analysed") };
    assert_eq!((summary.file_count, analysis.privileged_count(), analysis.rewritten_count()), (2, 4, 1));

    let image = Image::parse(payload(&bytes)).unwrap();
    let config = image.config();
    assert_eq!((config.app_path(), config.cwd()), (&b"/app"[..], &b"/data"[..]));
    assert_eq!(config.arguments().collect::<Vec<_>>(), [&b"/app"[..], b"one", b"two three"]);
    let environment: Vec<_> = config.environment().collect();
    assert_eq!(environment[..2], [&b"HOME=/data"[..], b"B=2"]);
    assert!(environment.len() == 3 && environment[2].starts_with(b"PATH=/"));
    // The buffer of 40,000 bytes is the program's own memory.
    assert!((40_000..60_000).contains(&image.required_memory()), "{}", image.required_memory());

    let archive = image.archive();
    let app = archive.lookup(archive.root(), b"app").unwrap().unwrap();
    assert_eq!(archive.data(app), fs::read(&request.app).unwrap());
    for site in image.sites(app).unwrap().unwrap() {
        assert_eq!(archive.data(app)[usize::try_from(site.file_offset).unwrap()], site.original);
    }
    let tmp = archive.lookup(archive.root(), b"tmp").unwrap().unwrap();
    assert_eq!(archive.inode(tmp).map(|inode| (inode.kind, inode.mode)).unwrap(), (Kind::Directory, 0o041_777));
    // The kernel begins behind its headers, 0x1000 from its base.
    let found = |offset| image.kernel_symbols().lookup(offset).map(|(name, distance)| (name.to_string(), distance));
    assert_eq!(found(0x1003), Some(("pvh_entry".to_owned(), 3)));
    assert_eq!(found(0x10), None);

    let memory = read_memory(&mut Cursor::new(&bytes)).unwrap();
    assert_eq!(memory.program, image.required_memory());
    assert_eq!(memory.loaded, 0x10_0000 + image.total_size());
}

#[test]
fn images_are_reproducible() {
    let scratch = Scratch::new("twice");
    let request = scratch.request(scratch.compile("app", &[]));
    build(&request).unwrap();
    let first = fs::read(&request.output).unwrap();
    build(&request).unwrap();
    assert!(first == fs::read(&request.output).unwrap());
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let scratch = Scratch::new("refused");
    let request = scratch.request(scratch.compile("app", &[]));
    let refuse = |change: &dyn Fn(&mut Request)| {
        let mut changed = request.clone();
        change(&mut changed);
        let message = build(&changed).unwrap_err().to_string();
        assert!(!message.contains('\n') && !request.output.exists());
        message
    };
    assert!(refuse(&|request| request.app = "/nowhere".into()).ends_with("/nowhere: no such file or directory"));
    assert!(refuse(&|request| request.app = "/".into()).ends_with("/: not a regular file"));
    assert_eq!(refuse(&|request| request.environment = vec![b"B".to_vec()]), "ENV: 'B' is not NAME=value");
    assert_eq!(refuse(&|request| request.cwd = Some("tmp".into())), "CWD: tmp is not an absolute path");
    assert_eq!(refuse(&|request| request.cwd = Some("/none".into())), "CWD: the image has no directory /none");
    assert!(
        refuse(&|request| request.kernel = request.app.clone()).starts_with("the kernel has no room for a payload")
    );
    let files = scratch.path("files");
    fs::create_dir_all(&files).unwrap();
    File::create(files.join("huge")).unwrap().set_len(600 << 20).unwrap();
    let message = refuse(&|request| request.files = Some(files.clone()));
    assert_eq!(
        message,
        "the files are 630 MB in all, more than the 512 MB an image can hold: put them on a disk, by ROOT=ext4"
    );
}

#[test]
fn compiled_functions_are_proven_whatever_is_known_of_them() {
    let scratch = Scratch::new("analysis");
    for (name, options, is_all_found) in [
        ("plain", &[][..], true),
        ("stripped", &["-s"][..], true),
        ("position-independent", &["-s", "-fPIE", "-static-pie"][..], true),
        ("no-frames", &["-fno-asynchronous-unwind-tables"][..], true),
        // Nothing but pointers leads to two tiny functions: they are left alone.
        ("nothing", &["-s", "-fno-asynchronous-unwind-tables"][..], false),
    ] {
        let found = analyse(&fs::read(scratch.compile(name, options)).unwrap());
        let privileged = found.sites.iter().filter(|site| site.kind == SiteKind::Privileged);
        let originals: Vec<_> = privileged.map(|site| site.original).collect();
        let expected: &[u8] = if is_all_found { &[0xf4, 0xfa, 0xf4, 0xcd] } else { &[0xf4] };
        let sorted = |list: &[u8]| {
            let mut list = list.to_vec();
            list.sort_unstable();
            list
        };
        assert_eq!(sorted(&originals), sorted(expected), "{name}");
        assert_eq!((found.rewritten_count(), found.left.len()), (1, 0), "{name}");
        assert_eq!(found.unproven_bytes == 0, is_all_found, "{name}: {} bytes unproven", found.unproven_bytes);
    }
}
