//! [`Acl`]: an access control list, as entries; read from the form programs know and written to it. Pure.
//!
//! # Theory
//!
//! 1. The form (`linux/posix_acl_xattr.h`): a version in 32 bits, then 8 bytes for each entry: tag, permissions, and
//!    who is meant, in 16, 16 and 32 bits. Who is meant counts for named users and groups; elsewhere it is written as
//!    all ones.
//! 2. A valid list has the entries of the owner, of named users, of the owning group, of named groups, a mask, and of
//!    all others, in this order. One for owner, group and others each; a mask is there if anybody is named (acl(5)).
//! 3. A list without names and without mask says what nine permission bits say: no more than those are kept of it. Any
//!    other has its mask in the place of the group's bits, so that who knows of no lists sees the most that anybody but
//!    owner and others may.
//! 4. The check (IEEE 1003.1e draft 17, section 23.1.5): the owner goes by his own entry. A named user goes by his
//!    entry and the mask. Who is in any of the groups goes by an entry of those that grants all that is wanted, and the
//!    mask; if none does, he is refused, whatever others may.

use alloc::vec::Vec;

use abi::Errno;
use abi::xattr::{
    ACL_GROUP, ACL_GROUP_OBJ, ACL_MASK, ACL_OTHER, ACL_UNDEFINED_ID, ACL_USER, ACL_USER_OBJ, POSIX_ACL_XATTR_VERSION,
};

use crate::{Credentials, Permissions};

/// Bytes of an entry.
const ENTRY_LEN: usize = 8;
/// The permissions an entry can give, and the bits a mode has for one class.
const PERMISSION_BITS: u16 = 0o7;

/// Whom an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Owner,
    User(u32),
    OwningGroup,
    Group(u32),
    Mask,
    Others,
}

/// What some may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    who: Who,
    /// Bits of [`Permissions`], if the list is valid.
    permissions: u16,
}

impl Entry {
    fn grants(&self, wanted: Permissions) -> bool {
        Permissions::from_bits_truncate(self.permissions.into()).contains(wanted)
    }

    fn parse(bytes: [u8; ENTRY_LEN]) -> Result<Self, Errno> {
        let [tag, tag_high, permissions, permissions_high, id @ ..] = bytes;
        let id = u32::from_le_bytes(id);
        let who = match u16::from_le_bytes([tag, tag_high]) {
            ACL_USER_OBJ => Who::Owner,
            ACL_USER => Who::User(id),
            ACL_GROUP_OBJ => Who::OwningGroup,
            ACL_GROUP => Who::Group(id),
            ACL_MASK => Who::Mask,
            ACL_OTHER => Who::Others,
            _ => return Err(Errno::EINVAL),
        };
        Ok(Self { who, permissions: u16::from_le_bytes([permissions, permissions_high]) })
    }

    fn to_bytes(self) -> [u8; ENTRY_LEN] {
        let (tag, id) = match self.who {
            Who::Owner => (ACL_USER_OBJ, ACL_UNDEFINED_ID),
            Who::User(id) => (ACL_USER, id),
            Who::OwningGroup => (ACL_GROUP_OBJ, ACL_UNDEFINED_ID),
            Who::Group(id) => (ACL_GROUP, id),
            Who::Mask => (ACL_MASK, ACL_UNDEFINED_ID),
            Who::Others => (ACL_OTHER, ACL_UNDEFINED_ID),
        };
        let ([a, b], [c, d], [e, f, g, h]) = (tag.to_le_bytes(), self.permissions.to_le_bytes(), id.to_le_bytes());
        [a, b, c, d, e, f, g, h]
    }
}

/// An access control list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acl {
    entries: Vec<Entry>,
}

impl Acl {
    /// Reads a list; None for one without entries, which is none. `EOPNOTSUPP` for another version, `EINVAL` for what
    /// has not the form of one.
    pub(crate) fn parse(value: &[u8]) -> Result<Option<Self>, Errno> {
        if value.is_empty() {
            return Ok(None);
        }
        let (version, entries) = value.split_first_chunk().ok_or(Errno::EINVAL)?;
        if u32::from_le_bytes(*version) != POSIX_ACL_XATTR_VERSION {
            return Err(Errno::EOPNOTSUPP);
        }
        let (entries, rest) = entries.as_chunks();
        if !rest.is_empty() {
            return Err(Errno::EINVAL);
        }
        let entries: Vec<_> = entries.iter().map(|bytes| Entry::parse(*bytes)).collect::<Result<_, _>>()?;
        Ok((!entries.is_empty()).then_some(Self { entries }))
    }

    /// The form programs know.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = POSIX_ACL_XATTR_VERSION.to_le_bytes().to_vec();
        self.entries.iter().for_each(|entry| bytes.extend(entry.to_bytes()));
        bytes
    }

    /// `EINVAL` for a list that says not all, too much, or something twice.
    pub(crate) fn check(&self) -> Result<(), Errno> {
        /// Behind which entries the next one stands.
        #[derive(PartialEq)]
        enum Behind {
            Nothing,
            Owner,
            OwningGroup,
            Mask,
            Others,
        }
        let mut behind = Behind::Nothing;
        let mut needs_mask = false;
        for entry in &self.entries {
            if entry.permissions & !PERMISSION_BITS != 0 {
                return Err(Errno::EINVAL);
            }
            behind = match (entry.who, behind) {
                (Who::Owner, Behind::Nothing) => Behind::Owner,
                (Who::User(id), here @ Behind::Owner) | (Who::Group(id), here @ Behind::OwningGroup)
                    if id != ACL_UNDEFINED_ID =>
                {
                    needs_mask = true;
                    here
                }
                (Who::OwningGroup, Behind::Owner) => Behind::OwningGroup,
                (Who::Mask, Behind::OwningGroup) => Behind::Mask,
                (Who::Others, Behind::OwningGroup) if !needs_mask => Behind::Others,
                (Who::Others, Behind::Mask) => Behind::Others,
                _ => return Err(Errno::EINVAL),
            };
        }
        if behind == Behind::Others { Ok(()) } else { Err(Errno::EINVAL) }
    }

    /// Whether it lets somebody who is not the owner of a file of group `gid` do all of `wanted`: `EACCES` otherwise,
    /// and `EIO` for a list that does not say it.
    pub(crate) fn check_permission(
        &self,
        credentials: &Credentials,
        gid: u32,
        wanted: Permissions,
    ) -> Result<(), Errno> {
        let answer = |is_granted: bool| if is_granted { Ok(()) } else { Err(Errno::EACCES) };
        let mut is_member = false;
        for (entry, behind) in self.entries.iter().zip(1..) {
            let is_meant = match entry.who {
                Who::Owner | Who::Mask => false,
                Who::User(uid) => uid == credentials.uid,
                Who::OwningGroup => credentials.is_in_group(gid),
                Who::Group(named) => credentials.is_in_group(named),
                Who::Others => return answer(!is_member && entry.grants(wanted)),
            };
            is_member |= is_meant;
            let decides = matches!(entry.who, Who::User(_)) || entry.grants(wanted);
            if is_meant && decides {
                let mask = self.entries.iter().skip(behind).find(|entry| entry.who == Who::Mask);
                return answer(entry.grants(wanted) && mask.is_none_or(|mask| mask.grants(wanted)));
            }
        }
        Err(Errno::EIO)
    }

    /// The nine permission bits that stand for it, and whether they say all of it.
    pub(crate) fn mode(&self) -> (u32, bool) {
        let mut mode = 0;
        let mut is_all = true;
        for Entry { who, permissions } in &self.entries {
            let permissions = u32::from(*permissions & PERMISSION_BITS);
            match who {
                Who::Owner => mode |= permissions << 6,
                Who::OwningGroup => mode |= permissions << 3,
                Who::Others => mode |= permissions,
                // It stands behind the group.
                Who::Mask => mode = mode & 0o707 | permissions << 3,
                Who::User(_) | Who::Group(_) => {}
            }
            is_all &= !matches!(who, Who::Mask | Who::User(_) | Who::Group(_));
        }
        (mode, is_all)
    }

    /// The entry that the group's bits of a mode stand for: the mask, or else the owning group's. `EIO` when there is
    /// neither.
    fn group_class(&mut self) -> Result<&mut Entry, Errno> {
        let has_mask = self.entries.iter().any(|entry| entry.who == Who::Mask);
        let wanted = if has_mask { Who::Mask } else { Who::OwningGroup };
        self.entries.iter_mut().find(|entry| entry.who == wanted).ok_or(Errno::EIO)
    }

    fn class(&mut self, who: Who) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().filter(move |entry| entry.who == who)
    }

    /// Takes over the permission bits of a mode.
    pub(crate) fn set_mode(&mut self, mode: u32) -> Result<(), Errno> {
        let [owner, group, others] = classes(mode);
        self.class(Who::Owner).for_each(|entry| entry.permissions = owner);
        self.class(Who::Others).for_each(|entry| entry.permissions = others);
        self.group_class()?.permissions = group;
        Ok(())
    }

    /// Lets it be the list of something new that is made with `mode`: neither says more afterwards than both did.
    /// Whether the mode does not say all of it.
    pub(crate) fn restrict(&mut self, mode: &mut u32) -> Result<bool, Errno> {
        let [owner, group, others] = classes(*mode);
        self.class(Who::Owner).for_each(|entry| entry.permissions &= owner);
        self.class(Who::Others).for_each(|entry| entry.permissions &= others);
        self.group_class()?.permissions &= group;
        let (bits, is_all) = self.mode();
        *mode = *mode & !0o777 | bits;
        Ok(!is_all)
    }
}

/// The bits of owner, group and others.
fn classes(mode: u32) -> [u16; 3] {
    // Nine bits fit.
    let bits = u16::try_from(mode & 0o777).unwrap_or(0);
    [bits >> 6, bits >> 3, bits].map(|class| class & PERMISSION_BITS)
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;

    use super::*;
    use crate::Capabilities;

    fn acl(text: &str) -> Acl {
        let entries = text.split(',').map(|entry| {
            let mut parts = entry.split(':');
            let (tag, name, permissions) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
            let who = match (tag, name.parse()) {
                ("u", Ok(id)) => Who::User(id),
                ("u", _) => Who::Owner,
                ("g", Ok(id)) => Who::Group(id),
                ("g", _) => Who::OwningGroup,
                ("m", _) => Who::Mask,
                _ => Who::Others,
            };
            Entry { who, permissions: permissions.parse().unwrap() }
        });
        Acl { entries: entries.collect() }
    }

    fn who(uid: u32, groups: &[u32]) -> Credentials {
        Credentials {
            uid,
            gid: 1000,
            groups: Arc::from(groups),
            capabilities: Capabilities::empty(),
            ..Credentials::root()
        }
    }

    #[test]
    fn the_order_of_entries_is_checked() {
        for text in ["u::7,g::5,o::5", "u::7,g::5,m::5,o::5", "u::7,u:1:7,u:1:6,g::5,g:2:4,g:1:4,m::5,o::5"] {
            assert_eq!(acl(text).check(), Ok(()), "{text}");
        }
        for text in [
            "u::7,g::5",
            "g::5,u::7,o::5",
            "u::7,u:1:7,g::5,o::5",
            "u::7,g::5,g:1:5,o::5",
            "u::7,u::7,g::5,o::5",
            "u::7,g::5,o::5,m::7",
            "u::7,g::5,u:1:7,m::7,o::5",
            "u::7,g:1:7,g::5,m::7,o::5",
            "u::7,g::5,m::7,m::7,o::5",
            "u::7,g::5,o::5,o::5",
            "u::8,g::5,o::5",
            "u::7,u:4294967295:7,g::5,m::7,o::5",
        ] {
            assert_eq!(acl(text).check(), Err(Errno::EINVAL), "{text}");
        }
    }

    #[test]
    fn who_is_meant_most_closely_decides() {
        let list = acl("u::0,u:5:6,u:6:7,g::4,g:30:2,g:31:6,m::6,o::5");
        let may =
            |who: &Credentials, bits| list.check_permission(who, 20, Permissions::from_bits_truncate(bits)) == Ok(());
        let all = |who: &Credentials| (0..8).filter(|bits| may(who, *bits)).collect::<Vec<_>>();
        assert_eq!(all(&who(5, &[30, 20])), [0, 2, 4, 6], "by name, and not by groups");
        assert_eq!(all(&who(6, &[])), [0, 2, 4, 6], "the mask takes the right to execute");
        assert_eq!(all(&who(7, &[20])), [0, 4]);
        assert_eq!(all(&who(7, &[20, 30])), [0, 2, 4], "what one entry grants alone");
        assert_eq!(all(&who(7, &[31])), [0, 2, 4, 6]);
        assert_eq!(all(&who(7, &[])), [0, 1, 4, 5], "others go past the mask");
        let broken = acl("u::7,g::5");
        assert_eq!(broken.check_permission(&who(9, &[]), 20, Permissions::READ), Err(Errno::EIO));
    }

    #[test]
    fn modes_stand_for_lists() {
        assert_eq!(acl("u::7,g::5,o::4").mode(), (0o754, true));
        assert_eq!(acl("u::7,u:1:7,g::5,m::2,o::4").mode(), (0o724, false));
        let mut list = acl("u::7,u:1:7,g::5,m::2,o::4");
        list.set_mode(0o4610).unwrap();
        assert_eq!(list, acl("u::6,u:1:7,g::5,m::1,o::0"));
        let mut small = acl("u::7,g::5,o::4");
        small.set_mode(0o123).unwrap();
        assert_eq!(small, acl("u::1,g::2,o::3"));
        assert_eq!(acl("u::7,o::5").set_mode(0o777), Err(Errno::EIO));
    }

    #[test]
    fn what_is_new_has_the_least_of_both() {
        let mut list = acl("u::7,u:1:7,g::5,m::7,o::5");
        let mut mode = 0o10_2640;
        assert_eq!(list.restrict(&mut mode), Ok(true));
        assert_eq!((mode, list), (0o10_2640, acl("u::6,u:1:7,g::5,m::4,o::0")));
        let mut list = acl("u::5,g::4,o::1");
        let mut mode = 0o777;
        assert_eq!(list.restrict(&mut mode), Ok(false));
        assert_eq!((mode, list), (0o541, acl("u::5,g::4,o::1")));
    }

    #[test]
    fn what_has_not_the_form_is_refused() {
        let sane = acl("u::7,u:1:7,g::5,m::2,o::4").to_bytes();
        assert_eq!(sane.len(), 4 + 5 * ENTRY_LEN);
        let with = |at: usize, byte| {
            let mut bytes = sane.clone();
            bytes[at] = byte;
            Acl::parse(&bytes)
        };
        assert_eq!((Acl::parse(&[]), Acl::parse(&sane[..4])), (Ok(None), Ok(None)));
        assert_eq!((Acl::parse(&sane[..3]), Acl::parse(&sane[..11])), (Err(Errno::EINVAL), Err(Errno::EINVAL)));
        assert_eq!((with(0, 1), with(3, 1)), (Err(Errno::EOPNOTSUPP), Err(Errno::EOPNOTSUPP)));
        assert_eq!((with(4, 3), with(5, 1)), (Err(Errno::EINVAL), Err(Errno::EINVAL)));
        // Who is meant by an entry for the owner does not count.
        assert_eq!(with(8, 77), Ok(Some(acl("u::7,u:1:7,g::5,m::2,o::4"))));
    }

    /// What is read is written as it was; lists that are valid never fail, and a mode taken from one changes nothing
    /// when it is set.
    #[test]
    fn any_bytes_are_a_list_or_none() {
        let seed = 11;
        println!("seed {seed}");
        let mut random = testkit::Random::new(seed);
        let (mut read, mut valid) = (0, 0);
        for _ in 0..30_000 {
            let mut bytes = acl("u::7,u:1:7,g::5,g:4:1,m::2,o::4").to_bytes();
            for _ in 0..random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] = *random.pick(&[0, 1, 2, 4, 8, 16, 32, 0xff]);
            }
            let cut = random.below(2) * random.below(bytes.len());
            bytes.truncate(bytes.len() - cut);
            let Ok(Some(list)) = Acl::parse(&bytes) else { continue };
            read += 1;
            assert_eq!(Acl::parse(&list.to_bytes()), Ok(Some(list.clone())));
            let _ = list.check_permission(&who(4, &[1]), 8, Permissions::READ);
            if list.check().is_err() {
                continue;
            }
            valid += 1;
            assert!(list.check_permission(&who(4, &[1]), 8, Permissions::READ) != Err(Errno::EIO));
            let (mut mode, mut same) = (list.mode().0, list.clone());
            same.set_mode(mode).unwrap();
            assert_eq!(same, list);
            assert_eq!((same.restrict(&mut mode), same), (Ok(!list.mode().1), list));
        }
        assert!(read > 1000 && valid > 1000, "{read} {valid}");
    }
}
