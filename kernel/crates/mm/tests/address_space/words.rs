//! Who owns a word, as futexes ask.

use std::sync::{Arc, Mutex};

use abi::Errno;
use mm::{AddressSpace, Backing, Frame, MapRequest, MappedObject, PAGE_SIZE, Rights, Sharing, WordOwner};
use testkit::Cpu;

use crate::support::{FakeFile, Observe};

const READ_WRITE: Rights = Rights::READ.union(Rights::WRITE);

#[test]
fn private_memory_that_can_be_written_owns_its_words() {
    let cpu = Cpu::new();
    let anonymous = cpu.space.map(MapRequest::anonymous(PAGE_SIZE, READ_WRITE)).unwrap();
    assert_eq!(cpu.space.word_owner(anonymous + 8, true), Ok(WordOwner::Memory));
    let file = MapRequest::private_file(FakeFile::new(1), 0, 2 * PAGE_SIZE, READ_WRITE);
    let file = cpu.space.map(file).unwrap();
    assert_eq!(cpu.space.word_owner(file, false), Ok(WordOwner::Memory));
    assert_eq!(cpu.space.word_owner(file + PAGE_SIZE, false), Err(Errno::EFAULT));
    cpu.check_invariants();
}

/// A file that asks who owns a word when the address space asks it something, which it does locked.
struct Curious {
    space: Arc<AddressSpace>,
    word: usize,
    answer: Mutex<Option<Result<WordOwner, Errno>>>,
}

impl MappedObject for Curious {
    fn page(&self, _index: u64) -> Result<Frame, Errno> {
        Frame::allocate_zeroed()
    }

    fn is_resident(&self, _index: u64) -> bool {
        *self.answer.lock().unwrap() = Some(self.space.word_owner(self.word, false));
        true
    }

    fn name(&self) -> Vec<u8> {
        b"/curious".to_vec()
    }

    fn device_and_inode(&self) -> (u64, u64) {
        (3, 4)
    }
}

#[test]
fn without_shared_mappings_no_lock_is_needed() {
    let cpu = Cpu::new();
    let word = cpu.space.map(MapRequest::anonymous(PAGE_SIZE, READ_WRITE)).unwrap();
    cpu.make_current();
    cpu.store(word, 1).unwrap();
    let curious = Arc::new(Curious { space: cpu.space.clone(), word, answer: Mutex::default() });
    let file = cpu.space.map(MapRequest::private_file(curious.clone(), 0, PAGE_SIZE, Rights::READ)).unwrap();
    cpu.space.residency(file, PAGE_SIZE).unwrap();
    assert_eq!(*curious.answer.lock().unwrap(), Some(Ok(WordOwner::Memory)));
}

#[test]
fn what_cannot_change_has_no_words() {
    let cpu = Cpu::new();
    let constant = cpu.space.map(MapRequest::anonymous(PAGE_SIZE, Rights::READ)).unwrap();
    assert_eq!(cpu.space.word_owner(constant, false), Err(Errno::EFAULT));
    let hidden = cpu.space.map(MapRequest::anonymous(PAGE_SIZE, Rights::empty())).unwrap();
    assert_eq!(cpu.space.word_owner(hidden, false), Err(Errno::EFAULT));
    assert_eq!(cpu.space.word_owner(16, false), Err(Errno::EFAULT));
}

#[test]
fn words_of_a_file_are_the_same_wherever_it_is_mapped() {
    let cpu = Cpu::new();
    let file = FakeFile::new(3);
    let map = |sharing, offset: usize, rights| {
        let backing = Backing::File { object: file.clone(), offset: offset as u64, access: READ_WRITE };
        let request = MapRequest::anonymous(PAGE_SIZE, rights);
        cpu.space.map(MapRequest { sharing, backing, ..request }).unwrap()
    };
    let second_page = map(Sharing::Shared, PAGE_SIZE, READ_WRITE);
    let owner = WordOwner::Object { identity: (1, 2), offset: PAGE_SIZE as u64 + 12 };
    assert_eq!(cpu.space.word_owner(second_page + 12, true), Ok(owner));
    let constant = map(Sharing::Shared, PAGE_SIZE, Rights::READ);
    assert_eq!(cpu.space.word_owner(constant + 12, false), Ok(owner));
    assert_eq!(cpu.space.word_owner(constant + 12, true), Err(Errno::EFAULT));
    let own = map(Sharing::Private, PAGE_SIZE, Rights::READ);
    assert_eq!(cpu.space.word_owner(own + 12, false), Ok(owner));
    cpu.check_invariants();
}

#[test]
fn shared_memory_has_an_identity_of_its_own() {
    let cpu = Cpu::new();
    let map = || {
        let request = MapRequest { sharing: Sharing::Shared, ..MapRequest::anonymous(PAGE_SIZE, READ_WRITE) };
        let address = cpu.space.map(request).unwrap();
        cpu.space.word_owner(address + 4, true).unwrap()
    };
    let (first, second) = (map(), map());
    assert!(first != second && first != WordOwner::Memory);
}
