//! What must hold for any bytes: shared by the tests here and by the fuzz target.

use loader::aslr::{Layout, RandomNumbers};
use loader::{Kind, LoadPlan, PAGE_SIZE, USER_END, USER_START};

/// Parses the bytes and, when they are accepted, checks the plan and a layout for it. Answers the plan.
pub fn check(bytes: &[u8], random: u64) -> Option<LoadPlan> {
    let file_size = bytes.len() as u64;
    let plan = match LoadPlan::parse(bytes, file_size) {
        Ok(plan) => plan,
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && !text.contains('\n'), "{error:?}");
            assert_ne!(abi::Errno::from(error).as_negative(), 0);
            return None;
        }
    };
    check_plan(&plan, file_size);
    check_layout(&plan, random);
    Some(plan)
}

fn check_plan(plan: &LoadPlan, file_size: u64) {
    assert!(!plan.segments.is_empty());
    assert!(plan.segments.len() <= 73);
    assert!(plan.entry < USER_END);
    let mut end_before = 0;
    for segment in &plan.segments {
        assert!(segment.vaddr >= end_before, "overlap");
        end_before = segment.end();
        assert!(segment.mem_size > 0 && segment.file_size <= segment.mem_size);
        let pages = segment.pages();
        assert!(pages.end <= USER_END && pages.start <= segment.vaddr && segment.end() <= pages.end);
        assert!(plan.kind != Kind::Fixed || pages.start >= USER_START);
        let mut mapped = 0;
        if let Some((file_pages, offset)) = segment.file_pages() {
            assert_eq!(offset % PAGE_SIZE, 0);
            assert_eq!(file_pages.start, pages.start);
            assert_eq!(segment.offset - offset, segment.vaddr - file_pages.start);
            // No page is mapped that holds no byte of the segment.
            assert!(offset + file_pages.len() < file_size + PAGE_SIZE);
            mapped += file_pages.len();
        }
        if let Some(tail) = segment.zero_tail() {
            assert!(tail.len() < PAGE_SIZE && tail.start == segment.file_end() && tail.end <= pages.end);
        }
        if let Some(zero) = segment.zero_pages() {
            assert_eq!(zero.end, pages.end);
            assert_eq!(zero.start % PAGE_SIZE, 0);
            mapped += zero.len();
        }
        assert_eq!(mapped, pages.len());
    }
    if let Some(path) = &plan.interpreter {
        assert!(path.len() < 4096 && !path.contains(&0));
    }
}

fn check_layout(plan: &LoadPlan, random: u64) {
    let random = RandomNumbers {
        stack: random,
        stack_pointer: random.rotate_left(13),
        mmap: random.rotate_left(26),
        program: random.rotate_left(39),
        brk: random.rotate_left(52),
    };
    for stack_limit in [0, 8 << 20, 1 << 40, u64::MAX] {
        let Ok(layout) = Layout::new(plan, &random, stack_limit) else { continue };
        let pages = plan.pages();
        let start = pages.start.wrapping_add(layout.load_bias);
        let end = start.checked_add(pages.len()).expect("the program ends within the address space");
        assert!(start >= USER_START && end <= USER_END);
        assert!(plan.kind == Kind::PositionIndependent || layout.load_bias == 0);
        assert_eq!(layout.load_bias % plan.alignment(), 0);
        for address in [layout.stack_top, layout.mmap_base, layout.brk_start] {
            assert!(address % PAGE_SIZE == 0 && (USER_START..=USER_END).contains(&address));
        }
        assert!(layout.mmap_base < layout.stack_top);
    }
}
