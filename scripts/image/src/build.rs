//! Makes an image from what the user asked for.

use std::fs::{self, File};
use std::io::{BufWriter, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use image_format::PAGE_SIZE;
use image_format::write::{ConfigSource, Content, NodeId, Payload, Tree};

use crate::analysis::{Analysis, cache};
use crate::kernel_file::KernelFile;
use crate::program::{self, Program};
use crate::{Failure, Result, disk_root, root};

/// A larger root would have to fit in memory next to the program; it belongs on a disk.
pub const ROOT_SIZE_MAX: u64 = 512_000_000;
/// The host name of the virtual machine.
const HOSTNAME: &str = "nacre";
/// What is in the environment unless the user says otherwise.
const DEFAULT_ENVIRONMENT: [(&str, &str); 2] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/root")];

/// What the user asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The program.
    pub app: PathBuf,
    /// Its arguments, without its own name.
    pub arguments: Vec<Vec<u8>>,
    /// Its environment, as `NAME=value`; what every program needs is added.
    pub environment: Vec<Vec<u8>>,
    /// A directory whose contents become the root directory.
    pub files: Option<PathBuf>,
    /// The working directory; the root directory if not given.
    pub cwd: Option<PathBuf>,
    /// How network interfaces are configured, as `NETCFG` says it.
    pub network: String,
    /// The kernel as the linker left it.
    pub kernel: PathBuf,
    /// Standard files for every image.
    pub base: Option<PathBuf>,
    /// Where results that are costly to compute are kept.
    pub cache: Option<PathBuf>,
    /// Whether files are packed where that saves something.
    pub is_packed: bool,
    /// What the root is, one of [`disk_root::KINDS`] on a disk beside the image; `None` for the archive in it.
    pub root: Option<String>,
    /// The image to write.
    pub output: PathBuf,
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The size of the image.
    pub image_size: u64,
    /// The size of the kernel in it.
    pub kernel_size: u64,
    /// The size of all files in it.
    pub files_size: u64,
    /// How many regular files there are.
    pub file_count: usize,
    /// What the program is.
    pub program: Program,
    /// What was found in each program and library, by its path in the image.
    pub analyses: Vec<(String, Analysis)>,
}

/// Makes the image.
///
/// # Errors
/// One line for the user.
pub fn build(request: &Request) -> Result<Summary> {
    let program = check_app(&request.app)?;
    let mut root = root::collect(&request.app, request.files.as_deref(), request.base.as_deref())?;
    let (file_count, files_size) = root
        .tree
        .files()
        .fold((0, 0_u64), |(count, size), (_, content)| (count + 1, size.saturating_add(content.size())));
    if let Some(kind) = request.root.as_deref().filter(|kind| !disk_root::KINDS.contains(kind)) {
        return Err(Failure::new(format!("ROOT={kind}: it should be one of {}", disk_root::KINDS.join(", "))));
    }
    if files_size > ROOT_SIZE_MAX && request.root.is_none() {
        return Err(Failure::new(format!(
            "the files are {} in all, more than the {} an image can hold: put them on a disk, by ROOT=ext4",
            megabytes(files_size),
            megabytes(ROOT_SIZE_MAX)
        )));
    }
    let config = config(request, &root, &program)?;
    let analyses = analyse_files(&mut root.tree, request.cache.as_deref())?;
    let kernel = KernelFile::parse(&read(&request.kernel)?)?;
    let tree = match &request.root {
        Some(kind) => {
            disk_root::make(&root.tree, kind, files_size, &request.output)?;
            disk_root::remains(&root.tree)
        }
        None => root.tree,
    };
    let payload = Payload { config, tree, symbols: kernel.symbols().to_vec(), is_packed: request.is_packed };
    let image_size = write(&kernel, &payload, &request.output)?;
    Ok(Summary { image_size, kernel_size: kernel.size(), files_size, file_count, program, analyses })
}

/// Analyses every ELF file of the tree, notes its sites there, and returns what was found, with the names of the files.
fn analyse_files(tree: &mut Tree, cache: Option<&Path>) -> Result<Vec<(String, Analysis)>> {
    let files: Vec<(NodeId, Content)> = tree.files().map(|(id, content)| (id, content.clone())).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        while let Some((id, content)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Some(bytes) = elf_bytes(content)? {
                found.push((*id, name_of(content), cache::analyse_cached(&bytes, cache)));
            }
        }
        Ok(found)
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let results: Vec<Result<Vec<_>>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let failed = |_| Err(Failure::new("the analysis of a program failed: please report it"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(failed)).collect()
    });
    let mut analyses = Vec::new();
    for result in results {
        for (id, name, analysis) in result? {
            tree.set_sites(id, analysis.sites.clone());
            analyses.push((name, analysis));
        }
    }
    analyses.sort_by(|(left, _), (right, _)| left.cmp(right));
    Ok(analyses)
}

/// Where a file comes from.
fn name_of(content: &Content) -> String {
    match content {
        Content::HostFile { path, .. } => path.display().to_string(),
        Content::Bytes(_) | Content::Elsewhere { .. } => "a file made here".to_owned(),
    }
}

/// The bytes of a file that is an ELF file for x86-64; of others only the beginning is read.
fn elf_bytes(content: &Content) -> Result<Option<Vec<u8>>> {
    let bytes = match content {
        Content::Bytes(bytes) => bytes.clone(),
        Content::Elsewhere { .. } => Vec::new(),
        Content::HostFile { path, .. } => {
            let failed = |error| Failure::io(path, &error);
            let mut file = File::open(path).map_err(failed)?;
            let mut bytes = Vec::new();
            file.by_ref().take(PAGE_SIZE).read_to_end(&mut bytes).map_err(failed)?;
            if bytes.starts_with(b"\x7fELF") {
                file.read_to_end(&mut bytes).map_err(failed)?;
            }
            bytes
        }
    };
    Ok(program::is_x86_64_elf(&bytes).then_some(bytes))
}

/// A size for a person, in units of a million bytes.
pub fn megabytes(bytes: u64) -> String {
    let tenths = bytes.div_ceil(100_000);
    match tenths {
        0..100 => format!("{}.{} MB", tenths / 10, tenths % 10),
        _ => format!("{} MB", bytes.div_ceil(1_000_000)),
    }
}

fn check_app(app: &Path) -> Result<Program> {
    let host = fs::metadata(app).map_err(|error| Failure::io(app, &error))?;
    if !host.is_file() {
        return Err(Failure::new(format!("{}: not a regular file", app.display())));
    }
    program::inspect(&read(app)?).map_err(|error| Failure::new(format!("{}: {error}", app.display())))
}

fn config(request: &Request, root: &root::Root, program: &Program) -> Result<ConfigSource> {
    let mut arguments = vec![root.app_path.clone()];
    arguments.extend_from_slice(&request.arguments);
    let cwd = request.cwd.as_deref().unwrap_or(Path::new("/"));
    check_cwd(cwd, root)?;
    crate::run::network::configuration(&request.network)?;
    Ok(ConfigSource {
        app_path: root.app_path.clone(),
        arguments,
        environment: complete_environment(&request.environment)?,
        cwd: cwd.as_os_str().as_encoded_bytes().to_vec(),
        hostname: HOSTNAME.as_bytes().to_vec(),
        network: request.network.clone(),
        root_kind: request.root.clone().unwrap_or_default(),
        required_memory: program.writable_memory,
    })
}

/// The environment that the program gets: what the user asked for, and what every program expects.
///
/// # Errors
/// When something in it is not `NAME=value`.
pub fn complete_environment(asked: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    let mut environment = asked.to_vec();
    for setting in asked {
        if setting.iter().position(|&byte| byte == b'=').is_none_or(|position| position == 0) {
            return Err(Failure::new(format!("ENV: '{}' is not NAME=value", String::from_utf8_lossy(setting))));
        }
    }
    for (name, value) in DEFAULT_ENVIRONMENT {
        let name = format!("{name}=");
        if !asked.iter().any(|setting| setting.starts_with(name.as_bytes())) {
            environment.push([name.as_bytes(), value.as_bytes()].concat());
        }
    }
    Ok(environment)
}

fn check_cwd(cwd: &Path, root: &root::Root) -> Result<()> {
    if !cwd.is_absolute() {
        return Err(Failure::new(format!("CWD: {} is not an absolute path", cwd.display())));
    }
    // What lies behind a symbolic link is left to the kernel.
    let mut directory = root.tree.root();
    for name in cwd.components().skip(1) {
        let child = root.tree.child(directory, name.as_os_str().as_encoded_bytes());
        directory = match child {
            Some(id) if root.tree.is_directory(id) => id,
            Some(id) if root.tree.link_target(id).is_some() => return Ok(()),
            _ => return Err(Failure::new(format!("CWD: the image has no directory {}", cwd.display()))),
        };
    }
    Ok(())
}

/// Writes the image beside its place and then moves it there, so that no one ever sees half an image.
fn write(kernel: &KernelFile, payload: &Payload, output: &Path) -> Result<u64> {
    let name = output.file_name().ok_or_else(|| Failure::new(format!("{}: not a file name", output.display())))?;
    let mut staging_name = name.to_owned();
    staging_name.push(format!(".new-{}", std::process::id()));
    let staging = output.with_file_name(staging_name);
    let result = File::create(&staging)
        .and_then(|file| kernel.write_image(payload, &mut BufWriter::with_capacity(1 << 20, file)))
        .and_then(|size| fs::rename(&staging, output).map(|()| size));
    if result.is_err() {
        let _ = fs::remove_file(&staging);
    }
    result.map_err(|error| Failure::io(output, &error))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Failure::io(path, &error))
}
