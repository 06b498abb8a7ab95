//! The path walk: one table of paths and answers, and the cases that need a tree of their own.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use abi::{Errno, OpenFlags, ResolveFlags};
use support::World;
use vfs::Lookup;

/// A small tree: files, directories, links of every kind.
fn world() -> World {
    let world = World::tmpfs();
    for directory in ["/a", "/a/b", "/a/b/c", "/empty", "/other"] {
        world.mkdir(directory).unwrap();
    }
    for file in ["/file", "/a/file", "/a/b/c/deep"] {
        world.write_file(file, file.as_bytes()).unwrap();
    }
    for (target, path) in [
        ("a", "/to-a"),
        ("a/", "/to-a-slash"),
        ("/a/b", "/a/absolute"),
        ("../file", "/a/up"),
        ("b/c/deep", "/a/to-deep"),
        ("missing", "/dangling"),
        ("loop", "/loop"),
        ("pong", "/ping"),
        ("ping", "/pong"),
        ("file/", "/to-file-slash"),
        ("file", "/to-file"),
        ("/", "/to-root"),
        ("to-a/b", "/two-steps"),
        ("/a/b/../../to-a/./b//c", "/winding"),
        (".", "/dot"),
        ("..", "/a/dotdot"),
    ] {
        world.symlink(target, path).unwrap();
    }
    world
}

/// What a path leads to: the canonical path, or an error.
type Case = (&'static str, Result<&'static str, Errno>);

const FOLLOWED: &[Case] = &[
    ("/", Ok("/")),
    ("//", Ok("/")),
    ("/.", Ok("/")),
    ("/..", Ok("/")),
    ("/../..", Ok("/")),
    ("/../a", Ok("/a")),
    ("/a", Ok("/a")),
    ("/a/", Ok("/a")),
    ("/a//b///c", Ok("/a/b/c")),
    ("/a/./b/.", Ok("/a/b")),
    ("/a/b/..", Ok("/a")),
    ("/a/b/../", Ok("/a")),
    ("/a/b/../file", Ok("/a/file")),
    ("/file", Ok("/file")),
    ("/file/", Err(Errno::ENOTDIR)),
    ("/file/.", Err(Errno::ENOTDIR)),
    ("/file/..", Err(Errno::ENOTDIR)),
    ("/file/x", Err(Errno::ENOTDIR)),
    ("/file//", Err(Errno::ENOTDIR)),
    ("/missing", Err(Errno::ENOENT)),
    ("/missing/", Err(Errno::ENOENT)),
    ("/missing/x", Err(Errno::ENOENT)),
    ("/missing/..", Err(Errno::ENOENT)),
    ("", Err(Errno::ENOENT)),
    ("a", Ok("/a")),
    (".", Ok("/")),
    ("./a", Ok("/a")),
    ("..", Ok("/")),
    ("/to-a", Ok("/a")),
    ("/to-a/", Ok("/a")),
    ("/to-a/b", Ok("/a/b")),
    ("/to-a/..", Ok("/")),
    ("/to-a-slash", Ok("/a")),
    ("/to-a-slash/file", Ok("/a/file")),
    ("/a/absolute", Ok("/a/b")),
    ("/a/absolute/c", Ok("/a/b/c")),
    ("/a/up", Ok("/file")),
    ("/a/up/", Err(Errno::ENOTDIR)),
    ("/a/to-deep", Ok("/a/b/c/deep")),
    ("/dangling", Err(Errno::ENOENT)),
    ("/dangling/", Err(Errno::ENOENT)),
    ("/loop", Err(Errno::ELOOP)),
    ("/loop/x", Err(Errno::ELOOP)),
    ("/ping", Err(Errno::ELOOP)),
    ("/to-file", Ok("/file")),
    ("/to-file/", Err(Errno::ENOTDIR)),
    ("/to-file-slash", Err(Errno::ENOTDIR)),
    ("/to-root", Ok("/")),
    ("/to-root/a", Ok("/a")),
    ("/to-root/../a", Ok("/a")),
    ("/two-steps", Ok("/a/b")),
    ("/two-steps/c/deep", Ok("/a/b/c/deep")),
    ("/winding", Ok("/a/b/c")),
    ("/winding/../file", Err(Errno::ENOENT)),
    ("/winding/../../file", Ok("/a/file")),
    ("/dot", Ok("/")),
    ("/dot/dot/dot/a", Ok("/a")),
    ("/a/dotdot", Ok("/")),
    ("/a/dotdot/a/dotdot/file", Ok("/file")),
    ("/a/b/c/../../dotdot/a/file", Ok("/a/file")),
];

const NOT_FOLLOWED: &[Case] = &[
    ("/to-a", Ok("/to-a")),
    ("/to-a/", Ok("/a")),
    ("/to-a/.", Ok("/a")),
    ("/to-a-slash", Ok("/to-a-slash")),
    ("/dangling", Ok("/dangling")),
    ("/dangling/", Err(Errno::ENOENT)),
    ("/loop", Ok("/loop")),
    ("/loop/", Err(Errno::ELOOP)),
    ("/to-file/", Err(Errno::ENOTDIR)),
    ("/two-steps", Ok("/two-steps")),
    ("/to-a/absolute", Ok("/a/absolute")),
    ("/a", Ok("/a")),
];

#[test]
fn paths_lead_where_they_lead() {
    let world = world();
    // Twice: without and with the cache.
    for _ in 0..2 {
        for (flags, cases) in [(Lookup::FOLLOW, FOLLOWED), (Lookup::empty(), NOT_FOLLOWED)] {
            for (path, expected) in cases {
                let found = world.resolve(path, flags).map(|place| world.path_name(&place));
                assert_eq!(found, expected.map(str::to_owned), "{path} {flags:?}");
            }
        }
    }
}

#[test]
fn the_host_agrees() {
    let directory = std::env::temp_dir().join(format!("nacre-walk-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let outside = |path: &str| path.starts_with('/');
    for name in ["a", "a/b", "a/b/c", "empty", "other"] {
        std::fs::create_dir(directory.join(name)).unwrap();
    }
    for name in ["file", "a/file", "a/b/c/deep"] {
        std::fs::write(directory.join(name), name).unwrap();
    }
    let world = world();
    for name in ["to-a", "to-a-slash", "a/up", "a/to-deep", "dangling", "loop", "ping", "pong", "to-file"] {
        std::os::unix::fs::symlink(world.readlink(&format!("/{name}")).unwrap(), directory.join(name)).unwrap();
    }
    for name in ["to-file-slash", "two-steps", "dot", "a/dotdot"] {
        std::os::unix::fs::symlink(world.readlink(&format!("/{name}")).unwrap(), directory.join(name)).unwrap();
    }
    for (follows, cases) in [(true, FOLLOWED), (false, NOT_FOLLOWED)] {
        for (path, expected) in cases {
            // The host's root is not the test's.
            if ["..", "root", "winding", "absolute"].iter().any(|part| path.contains(part)) || !outside(path) {
                continue;
            }
            let path = format!("{}{path}", directory.display());
            let metadata = if follows { std::fs::metadata(&path) } else { std::fs::symlink_metadata(&path) };
            let found = metadata.map(drop).map_err(|error| error.raw_os_error().unwrap());
            assert_eq!(found, expected.map(drop).map_err(|errno| i32::from(errno as u16)), "{path}");
        }
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn lengths_have_limits() {
    let world = World::tmpfs();
    let longest = "n".repeat(255);
    world.write_file(&longest, b"x").unwrap();
    assert_eq!(world.stat(&longest).unwrap().size, 1);
    let too_long = "n".repeat(256);
    assert_eq!(world.stat(&too_long).err(), Some(Errno::ENAMETOOLONG));
    assert_eq!(world.mkdir(&too_long), Err(Errno::ENAMETOOLONG));
    assert_eq!(world.stat(&"./".repeat(2047)).map(drop), Ok(()));
    assert_eq!(world.stat(&"./".repeat(2048)).err(), Some(Errno::ENAMETOOLONG));
    let target = "t".repeat(4095);
    world.symlink(&target, "link").unwrap();
    assert_eq!(world.readlink("link").unwrap(), target);
    assert_eq!(world.symlink(&"t".repeat(4096), "other"), Err(Errno::ENAMETOOLONG));
    assert_eq!(world.symlink("", "other"), Err(Errno::ENOENT));
}

#[test]
fn forty_links_are_followed() {
    let world = World::tmpfs();
    world.mkdir("/0").unwrap();
    for number in 1..=41 {
        world.symlink(&format!("{}", number - 1), &format!("/{number}")).unwrap();
    }
    assert!(world.place("/40").is_ok());
    assert_eq!(world.place("/41").err(), Some(Errno::ELOOP));
    // The count is of the whole walk.
    assert!(world.place("/20/../20").is_ok());
    assert_eq!(world.place("/20/../21").err(), Some(Errno::ELOOP));
}

#[test]
fn search_permission_is_needed_everywhere() {
    let world = World::tmpfs();
    world.mkdir("/d").unwrap();
    world.mkdir("/d/e").unwrap();
    world.write_file("/d/e/f", b"").unwrap();
    let mut user = world.as_user(1000, &[]);
    assert!(user.stat("/d/e/f").is_ok());
    user.chdir("/d/e").unwrap();
    world.chmod("/d", 0o700).unwrap();
    assert_eq!(user.stat("/d/e/f").err(), Some(Errno::EACCES));
    assert_eq!(user.stat("/d/missing").err(), Some(Errno::EACCES));
    // The directory itself is still seen, and a working directory in it still works.
    assert!(user.stat("/d").is_ok());
    assert!(user.stat("f").is_ok());
    assert!(user.stat("..").is_ok());
    assert_eq!(user.stat("../e").err(), Some(Errno::EACCES));
    world.chmod("/d/e", 0o600).unwrap();
    assert_eq!(user.stat(".").err(), Some(Errno::EACCES));
    // Root searches anything.
    assert!(world.stat("/d/e/f").is_ok());
}

#[test]
fn a_removed_working_directory_leads_nowhere_but_up() {
    let mut world = World::tmpfs();
    world.mkdir("/d").unwrap();
    world.mkdir("/d/e").unwrap();
    world.chdir("/d/e").unwrap();
    world.rmdir("/d/e").unwrap();
    assert_eq!(world.cwd(), "/d/e (deleted)");
    assert!(world.stat(".").is_ok());
    assert_eq!(world.stat(".").unwrap().links, 0);
    assert!(world.stat("..").is_ok());
    assert_eq!(world.mkdir("new"), Err(Errno::ENOENT));
    assert_eq!(world.open("new", OpenFlags::CREAT | OpenFlags::WRONLY).err(), Some(Errno::ENOENT));
    assert_eq!(world.stat("new").err(), Some(Errno::ENOENT));
    assert_eq!(world.open(".", OpenFlags::DIRECTORY).unwrap().entries(9), Err(Errno::ENOENT));
}

#[test]
fn a_chroot_is_a_root() {
    let mut world = world();
    let jail = world.place("/a").unwrap();
    world.context.set_root(jail.clone()).unwrap();
    world.context.set_cwd(jail).unwrap();
    assert_eq!(world.cwd(), "/");
    for (path, expected) in [("/..", "/"), ("../../b", "/b"), ("/dotdot", "/"), ("b/c", "/b/c")] {
        assert_eq!(world.path_name(&world.place(path).unwrap()), expected, "{path}");
    }
    assert_eq!(world.place("/absolute").err(), Some(Errno::ENOENT));
    assert_eq!(world.place("/up").map(|place| world.path_name(&place)).as_deref(), Ok("/file"));
}

#[test]
fn resolve_flags_restrict_the_walk() {
    let mut world = world();
    let open = |world: &World, path: &str, resolve| {
        world.open_with(path, OpenFlags::PATH, 0, resolve).map(|file| {
            let place = vfs::path_of(&file.0);
            world.path_name(&place)
        })
    };
    world.chdir("/a").unwrap();
    let beneath = ResolveFlags::BENEATH;
    for (path, expected) in [
        ("b/c", Ok("/a/b/c")),
        ("b/..", Ok("/a")),
        ("b/../..", Err(Errno::EXDEV)),
        ("..", Err(Errno::EXDEV)),
        ("/a/b", Err(Errno::EXDEV)),
        ("absolute", Err(Errno::EXDEV)),
        ("up", Err(Errno::EXDEV)),
        ("to-deep", Ok("/a/b/c/deep")),
        (".", Ok("/a")),
    ] {
        assert_eq!(open(&world, path, beneath), expected.map(str::to_owned), "beneath {path}");
    }
    for (path, expected) in [
        ("/b/c", Ok("/a/b/c")),
        ("../../b", Ok("/a/b")),
        ("absolute", Err(Errno::ENOENT)),
        ("up", Ok("/a/file")),
        ("/", Ok("/a")),
    ] {
        assert_eq!(open(&world, path, ResolveFlags::IN_ROOT), expected.map(str::to_owned), "in root {path}");
    }
    let no_links = ResolveFlags::NO_SYMLINKS;
    assert_eq!(open(&world, "to-deep", no_links), Err(Errno::ELOOP));
    assert_eq!(open(&world, "/to-a/b", no_links), Err(Errno::ELOOP));
    assert_eq!(open(&world, "b/c", no_links).as_deref(), Ok("/a/b/c"));
    let link = world.open_with("to-deep", OpenFlags::PATH | OpenFlags::NOFOLLOW, 0, no_links);
    assert!(link.is_ok(), "the link itself is not followed");
}
