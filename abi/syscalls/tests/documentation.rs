//! The committed support list is the one the table gives.

#[test]
fn the_support_list_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/SYSCALLS.md");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let mut current = String::new();
    abi::documentation::write_markdown(&mut current).unwrap();
    assert!(committed == current, "run: cargo run -p abi --example syscalls_md > docs/SYSCALLS.md");
}
