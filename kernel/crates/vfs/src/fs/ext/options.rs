//! [`ExtOptions`]: what `mount` says of a file system of the family, and [`Settings`], what of it a remount can change.
//!
//! The options are those of Linux. Most of them choose between ways of doing the same, of which there is one here: they
//! are taken, so that a line of a table of mounts made for Linux serves here. What asks for more than there is is
//! refused, but for what a Linux without it takes as well, with a line in its log: quotas.

use abi::Errno;
use sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Options that change nothing here.
const WITHOUT_EFFECT: &[u8] = b"user_xattr noquota bsddf orlov oldalloc bh nobh debug nouid32 i_version \
    delalloc nodelalloc discard nodiscard block_validity noblock_validity init_itable noinit_itable barrier nobarrier \
    journal_checksum nojournal_checksum journal_async_commit dioread_nolock nodioread_nolock dioread_lock \
    mblk_io_submit nomblk_io_submit nombcache no_mbcache prefetch_block_bitmaps no_prefetch_block_bitmaps \
    warn_on_error nowarn_on_error";
/// The same, of those that have a number.
const WITHOUT_EFFECT_NUMBER: &[u8] = b"commit barrier min_batch_time max_batch_time stripe inode_readahead_blks \
    journal_ioprio init_itable mb_optimize_scan";
/// What is not there, and taken all the same.
const NOT_SUPPORTED: &[u8] = b"quota usrquota grpquota prjquota usrjquota grpjquota jqfmt";

/// How a file system is mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtOptions {
    /// Nothing is changed.
    pub is_read_only: bool,
    /// The journal is not replayed (`noload`).
    pub ignores_journal: bool,
    /// What is done when it is found damaged, instead of what it says itself (`errors=`): 1 continue, 2 read only, 3 as
    /// on Linux to panic, which is read only here.
    pub on_error: Option<u16>,
    /// Whether new nodes get the group of their directory whatever its mode (`grpid`).
    pub hands_on_group: Option<bool>,
    /// Whether access control lists are kept, and decide (`acl`).
    pub takes_acls: Option<bool>,
    /// Whether the contents that replace others are written before (`auto_da_alloc`).
    pub writes_replacements: Option<bool>,
}

impl ExtOptions {
    /// Reads options of `mount`, between commas. `EINVAL` for one that is not known.
    pub fn parse(is_read_only: bool, text: &[u8]) -> Result<Self, Errno> {
        let mut options = Self { is_read_only, ..Self::default() };
        for option in text.split(|byte| *byte == b',').filter(|option| !option.is_empty()) {
            options.take(option)?;
        }
        Ok(options)
    }

    fn take(&mut self, option: &[u8]) -> Result<(), Errno> {
        let mut parts = option.splitn(2, |byte| *byte == b'=');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next());
        match (name, value) {
            (b"noload" | b"norecovery", None) => self.ignores_journal = true,
            (b"errors", Some(b"continue")) => self.on_error = Some(1),
            (b"errors", Some(b"remount-ro")) => self.on_error = Some(2),
            (b"errors", Some(b"panic")) => self.on_error = Some(3),
            (b"grpid" | b"bsdgroups", None) => self.hands_on_group = Some(true),
            (b"nogrpid" | b"sysvgroups", None) => self.hands_on_group = Some(false),
            (b"acl", None) => self.takes_acls = Some(true),
            (b"noacl", None) => self.takes_acls = Some(false),
            (b"auto_da_alloc", None | Some(b"1")) => self.writes_replacements = Some(true),
            (b"noauto_da_alloc", None) | (b"auto_da_alloc", Some(b"0")) => self.writes_replacements = Some(false),
            // What is written first is more than the second asks for.
            (b"data", Some(b"ordered" | b"writeback")) | (b"data_err", Some(b"ignore" | b"abort")) => {}
            (b"data", Some(b"journal")) => {
                log::error!("ext: data=journal is not supported");
                return Err(Errno::EINVAL);
            }
            (_, None) if is_among(WITHOUT_EFFECT, name) => {}
            (_, Some(value)) if is_among(WITHOUT_EFFECT_NUMBER, name) && is_number(value) => {}
            _ if is_among(NOT_SUPPORTED, name) => log::error!("ext: {} option not supported", name.escape_ascii()),
            _ => {
                log::error!("ext: the option {} is not known", option.escape_ascii());
                return Err(Errno::EINVAL);
            }
        }
        Ok(())
    }
}

fn is_among(words: &[u8], name: &[u8]) -> bool {
    words.split(|byte| *byte == b' ').any(|word| word == name && !word.is_empty())
}

fn is_number(value: &[u8]) -> bool {
    core::str::from_utf8(value).is_ok_and(|value| value.parse::<u32>().is_ok())
}

/// What was said when it was mounted, or since then.
pub(super) struct Settings {
    hands_on_group: AtomicBool,
    takes_acls: AtomicBool,
    writes_replacements: AtomicBool,
}

impl Settings {
    pub(super) fn new(options: &ExtOptions) -> Self {
        let settings = Self {
            hands_on_group: AtomicBool::new(false),
            takes_acls: AtomicBool::new(true),
            writes_replacements: AtomicBool::new(true),
        };
        settings.change(options);
        settings
    }

    /// What is not named stays as it was.
    pub(super) fn change(&self, options: &ExtOptions) {
        if let Some(hands_on_group) = options.hands_on_group {
            self.hands_on_group.store(hands_on_group, Relaxed);
        }
        if let Some(takes_acls) = options.takes_acls {
            self.takes_acls.store(takes_acls, Relaxed);
        }
        if let Some(writes_replacements) = options.writes_replacements {
            self.writes_replacements.store(writes_replacements, Relaxed);
        }
    }

    pub(super) fn hands_on_group(&self) -> bool {
        self.hands_on_group.load(Relaxed)
    }

    pub(super) fn takes_acls(&self) -> bool {
        self.takes_acls.load(Relaxed)
    }

    pub(super) fn writes_replacements(&self) -> bool {
        self.writes_replacements.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_table_of_linux_is_taken() {
        let text = b"commit=30,data=ordered,barrier=1,nobarrier,delalloc,nodelalloc,discard,usrquota,acl,stripe=16,\
            errors=remount-ro,grpid,noauto_da_alloc,jqfmt=vfsv1,init_itable,init_itable=10";
        let options = ExtOptions::parse(false, text).unwrap();
        let expected = ExtOptions {
            on_error: Some(2),
            hands_on_group: Some(true),
            takes_acls: Some(true),
            writes_replacements: Some(false),
            ..ExtOptions::default()
        };
        assert_eq!(options, expected);
    }

    #[test]
    fn the_last_word_counts() {
        let options = ExtOptions::parse(true, b"bsdgroups,sysvgroups,acl,noacl,auto_da_alloc=0,auto_da_alloc").unwrap();
        assert_eq!((options.hands_on_group, options.writes_replacements), (Some(false), Some(true)));
        assert_eq!(options.takes_acls, Some(false));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for text in [
            "data=journal",
            "commit",
            "commit=x",
            "commit=-1",
            "delalloc=1",
            "errors=never",
            "noacl=",
            "xyz",
            "=",
            "sb=3",
        ] {
            assert_eq!(ExtOptions::parse(false, text.as_bytes()), Err(Errno::EINVAL), "{text}");
        }
    }
}
