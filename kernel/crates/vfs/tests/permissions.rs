//! Permissions: who may do what to whom, by mode, group, capability and sticky bit.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use abi::{AccessRights, Errno, OpenFlags, Timespec};
use support::World;
use vfs::{Capabilities, SetTime};

const R: AccessRights = AccessRights::R_OK;
const W: AccessRights = AccessRights::W_OK;
const X: AccessRights = AccessRights::X_OK;

fn world() -> World {
    let world = World::tmpfs();
    world.write_file("/f", b"x").unwrap();
    world.chown("/f", Some(10), Some(20)).unwrap();
    world
}

#[test]
fn classes_of_the_mode() {
    let world = world();
    let owner = world.as_user(10, &[]);
    let member = world.as_user(11, &[5, 20]);
    let other = world.as_user(12, &[5]);
    let allows = |who: &World, rights| who.access("/f", rights).is_ok();
    // Each class is looked at alone: an owner without rights has none, even if others do.
    world.chmod("/f", 0o067).unwrap();
    assert_eq!([allows(&owner, R), allows(&owner, W), allows(&owner, X)], [false, false, false]);
    assert_eq!([allows(&member, R), allows(&member, W), allows(&member, X)], [true, true, false]);
    assert_eq!([allows(&other, R), allows(&other, W), allows(&other, X)], [true, true, true]);
    world.chmod("/f", 0o640).unwrap();
    assert_eq!([allows(&owner, R | W), allows(&owner, R | X)], [true, false]);
    assert_eq!([allows(&member, R), allows(&member, R | W)], [true, false]);
    assert!(!allows(&other, R) && allows(&other, AccessRights::empty()));
    assert_eq!([allows(&world, R | W), allows(&world, X)], [true, false], "root executes only what someone may");
    world.chmod("/f", 0o001).unwrap();
    assert!(allows(&world, X | R | W));
}

#[test]
fn capabilities_stand_in_for_root() {
    let world = world();
    world.chmod("/f", 0).unwrap();
    world.mkdir("/d").unwrap();
    world.chmod("/d", 0).unwrap();
    let mut reader = world.as_user(50, &[]);
    assert_eq!(reader.access("/d", R), Err(Errno::EACCES));
    reader.credentials.capabilities = Capabilities::DAC_READ_SEARCH;
    assert_eq!([reader.access("/f", R), reader.access("/d", R | X)], [Ok(()), Ok(())]);
    assert_eq!([reader.access("/f", W), reader.access("/d", W)], [Err(Errno::EACCES), Err(Errno::EACCES)]);
    reader.credentials.capabilities = Capabilities::DAC_OVERRIDE;
    assert_eq!(reader.access("/d", R | W | X), Ok(()));
    assert_eq!(reader.chmod("/f", 0o700), Err(Errno::EPERM));
    reader.credentials.capabilities = Capabilities::FOWNER;
    assert_eq!(reader.chmod("/f", 0o700), Ok(()));
    // Root without capabilities is a user like any other.
    let powerless = world.as_user(0, &[]);
    assert_eq!(powerless.access("/f", R), Err(Errno::EACCES));
}

#[test]
fn only_owners_change_modes() {
    let world = world();
    let (owner, other) = (world.as_user(10, &[]), world.as_user(11, &[20]));
    assert_eq!(other.chmod("/f", 0o777), Err(Errno::EPERM));
    assert_eq!(owner.chmod("/f", 0o6777), Ok(()));
    assert_eq!(world.stat("/f").unwrap().mode, 0o104_777, "set-group-id is for members of the group");
    let member = world.as_user(10, &[20]);
    member.chmod("/f", 0o2775).unwrap();
    assert_eq!(world.stat("/f").unwrap().mode, 0o102_775);
    world.symlink("f", "/l").unwrap();
    let link = world.resolve("/l", vfs::Lookup::empty()).unwrap();
    assert_eq!(vfs::chmod(&world.credentials, &link, 0), Err(Errno::EOPNOTSUPP));
}

#[test]
fn giving_files_away() {
    let world = world();
    let owner = world.as_user(10, &[30]);
    assert_eq!(owner.chown("/f", Some(11), None), Err(Errno::EPERM));
    assert_eq!(owner.chown("/f", Some(10), None), Ok(()), "to oneself");
    assert_eq!(owner.chown("/f", None, Some(99)), Err(Errno::EPERM));
    assert_eq!(owner.chown("/f", None, Some(30)), Ok(()));
    assert_eq!(owner.chown("/f", None, None), Ok(()));
    let other = world.as_user(11, &[30]);
    assert_eq!(other.chown("/f", None, Some(30)), Err(Errno::EPERM));
    world.symlink("f", "/l").unwrap();
    let link = world.resolve("/l", vfs::Lookup::empty()).unwrap();
    vfs::chown(&world.credentials, &link, Some(77), None).unwrap();
    assert_eq!((world.lstat("/l").unwrap().uid, world.stat("/f").unwrap().uid), (77, 10));
}

#[test]
fn setting_times() {
    let world = world();
    world.chmod("/f", 0o646).unwrap();
    let place = world.place("/f").unwrap();
    let owner = world.as_user(10, &[]);
    let writer = world.as_user(12, &[]);
    let set = |who: &World, accessed, modified| vfs::utimens(&who.credentials, &place, accessed, modified);
    let time = |seconds, nanoseconds| SetTime::To(Timespec { tv_sec: seconds, tv_nsec: nanoseconds });
    assert_eq!(set(&owner, time(1, 2), time(-3, 4)), Ok(()));
    let attributes = world.stat("/f").unwrap();
    assert_eq!((attributes.accessed.tv_sec, attributes.accessed.tv_nsec), (1, 2));
    assert_eq!((attributes.modified.tv_sec, attributes.modified.tv_nsec), (-3, 4));
    assert_eq!(set(&writer, time(5, 5), SetTime::Omit), Err(Errno::EPERM));
    assert_eq!(set(&writer, SetTime::Now, SetTime::Omit), Err(Errno::EPERM));
    assert_eq!(set(&writer, SetTime::Omit, SetTime::Omit), Ok(()));
    assert_eq!(world.stat("/f").unwrap().changed, attributes.changed, "nothing was changed");
    assert_eq!(set(&writer, SetTime::Now, SetTime::Now), Ok(()), "who may write may touch");
    world.chmod("/f", 0o644).unwrap();
    assert_eq!(set(&writer, SetTime::Now, SetTime::Now), Err(Errno::EACCES));
    assert_eq!(set(&owner, SetTime::Omit, time(i64::MAX, 0)), Ok(()));
    assert_eq!(world.stat("/f").unwrap().modified.tv_sec, (1 << 33) - 1, "clamped to what fits");
    assert!(world.stat("/f").unwrap().created.unwrap().tv_sec > 1_000_000_000);
}

#[test]
fn sticky_directories_protect_names() {
    let world = World::tmpfs();
    world.mkdir("/tmp").unwrap();
    world.chmod("/tmp", 0o1777).unwrap();
    let (one, two) = (world.as_user(1, &[]), world.as_user(2, &[]));
    one.write_file("/tmp/f", b"").unwrap();
    one.mkdir("/tmp/d").unwrap();
    assert_eq!(two.unlink("/tmp/f"), Err(Errno::EPERM));
    assert_eq!(two.rmdir("/tmp/d"), Err(Errno::EPERM));
    assert_eq!(two.rename("/tmp/f", "/tmp/g"), Err(Errno::EPERM));
    let mut owner_of_directory = world.as_user(3, &[]);
    world.chown("/tmp", Some(3), None).unwrap();
    assert_eq!(owner_of_directory.unlink("/tmp/f"), Ok(()));
    owner_of_directory.credentials.uid = 2;
    owner_of_directory.credentials.capabilities = Capabilities::FOWNER;
    assert_eq!(owner_of_directory.rmdir("/tmp/d"), Ok(()));
}

#[test]
fn changing_names_needs_a_writable_directory() {
    let world = World::tmpfs();
    world.mkdir("/d").unwrap();
    world.write_file("/d/f", b"").unwrap();
    let user = world.as_user(1, &[]);
    for mode in [0o755, 0o777, 0o776] {
        world.chmod("/d", mode).unwrap();
        let (denied, there) = (Some(Errno::EACCES), if mode == 0o776 { Errno::EACCES } else { Errno::EEXIST });
        if mode != 0o777 {
            assert_eq!(user.mkdir("/d/new").err(), denied, "{mode:o}");
            assert_eq!(user.unlink("/d/f").err(), denied);
            assert_eq!(user.symlink("x", "/d/new").err(), denied);
            assert_eq!(user.open("/d/new", OpenFlags::CREAT | OpenFlags::WRONLY).err(), denied);
            assert_eq!(user.open("/d", OpenFlags::TMPFILE | OpenFlags::RDWR).err(), denied);
        } else {
            assert_eq!(user.mkdir("/d/new"), Ok(()));
            assert_eq!(user.rmdir("/d/new"), Ok(()));
        }
        assert_eq!(user.mkdir("/d/f").err(), Some(there), "what is there comes first");
    }
    // Listing needs read, not search, permission.
    world.chmod("/d", 0o754).unwrap();
    assert!(user.names("/d").is_ok());
    world.chmod("/d", 0o751).unwrap();
    assert_eq!(user.names("/d").err(), Some(Errno::EACCES));
    assert!(user.stat("/d/f").is_ok());
}
