//! Imports point down. The tables are the architecture; ARCHITECTURE.md shows them to people.

use serde_json::Value;

use crate::Finding;

/// Every crate that goes into the kernel, lowest first, and those it stands on. A crate may import these, and whatever they
/// stand on themselves; so siblings never import each other, and nothing imports up.
const CRATES: &[(&str, &[&str])] = &[
    ("abi", &[]),
    ("image-format", &[]),
    ("sync", &[]),
    ("vdso", &[]),
    ("devices", &[]),
    ("entropy", &[]),
    ("firmware", &["vdso"]),
    ("loader", &["abi"]),
    ("sched", &["sync"]),
    ("mm", &["abi", "sync"]),
    ("block", &["mm"]),
    ("journal", &["block"]),
    ("ext", &["journal"]),
    ("ninep", &["mm"]),
    ("file", &["mm"]),
    ("vfs", &["ext", "file", "image-format", "ninep"]),
    ("net", &["file"]),
    ("linux", &["loader", "net", "sched", "vfs"]),
    ("kernel", &["devices", "entropy", "firmware", "linux", "vdso"]),
];

/// Where an external crate may be imported, by crates of the kernel. Those absent here may be imported nowhere.
const HOMES: &[(&str, &[&str])] = &[
    ("bitflags", &["*"]),
    ("buddy_system_allocator", &["kernel"]),
    ("crc", &["block", "ext", "journal", "vfs"]),
    ("goblin", &["loader"]),
    ("hashbrown", &["net", "vfs"]),
    ("log", &["*"]),
    ("lz4_flex", &["image-format"]),
    ("loom", &["sync", "vdso"]),
    ("siphasher", &["net"]),
    ("smoltcp", &["net"]),
    ("spin", &["sync"]),
    ("virtio-drivers", &["kernel"]),
    ("x86_64", &["kernel"]),
    ("zerocopy", &["*"]),
];

/// The crates that `name` stands on, itself left out; none if it is no crate of the kernel.
fn below(name: &str) -> Option<Vec<&'static str>> {
    let (_, direct) = CRATES.iter().find(|(known, _)| *known == name)?;
    let indirect = direct.iter().filter_map(|lower| below(lower)).flatten();
    Some(direct.iter().copied().chain(indirect).collect())
}

/// Checks the packages of `cargo metadata`.
pub(crate) fn check(metadata: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let members: Vec<&str> =
        metadata["workspace_members"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    for package in packages.filter(|package| package["id"].as_str().is_some_and(|id| members.contains(&id))) {
        let Some(name) = package["name"].as_str() else { continue };
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        let Some(below) = below(name) else {
            if manifest.contains("/kernel/") {
                findings.push(Finding::new(
                    name,
                    "has no place in the layers: add it to CRATES in scripts/check/src/layers.rs",
                ));
            }
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let is_built_in = dependency["kind"].is_null();
            if let Some(imported) = dependency["name"].as_str().filter(|_| is_built_in) {
                let is_ours = dependency["path"].is_string();
                findings.extend(if is_ours {
                    check_own(name, &below, imported)
                } else {
                    check_external(name, imported)
                });
            }
        }
    }
    findings
}

fn check_own(name: &str, below: &[&str], imported: &str) -> Option<Finding> {
    (!below.contains(&imported)).then(|| {
        Finding::new(
            name,
            format!("imports {imported}, which is not below it: declare a seam here and implement it above, or move the code"),
        )
    })
}

fn check_external(name: &str, imported: &str) -> Option<Finding> {
    let homes = HOMES.iter().find(|(known, _)| *known == imported).map_or(&[][..], |(_, homes)| *homes);
    let is_home = homes.contains(&"*") || homes.contains(&name);
    (!is_home).then(|| {
        let message = match homes {
            [] => format!("imports {imported}, which has no home: give it one in HOMES in scripts/check/src/layers.rs"),
            homes => format!("imports {imported}, whose home is {}: use it through that crate", homes.join(", ")),
        };
        Finding::new(name, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(name: &str, dependencies: &[(&str, bool, Option<&str>)]) -> Value {
        let dependencies: Vec<Value> = dependencies
            .iter()
            .map(|(name, is_ours, kind)| json!({"name": name, "kind": kind, "path": is_ours.then_some("/somewhere")}))
            .collect();
        json!({"id": name, "name": name, "manifest_path": format!("/w/kernel/crates/{name}/Cargo.toml"),
            "dependencies": dependencies})
    }

    fn findings(packages: &[Value]) -> Vec<String> {
        let members: Vec<&Value> = packages.iter().map(|package| &package["id"]).collect();
        let metadata = json!({"workspace_members": members, "packages": packages});
        check(&metadata).into_iter().map(|finding| format!("{} {}", finding.subject, finding.message)).collect()
    }

    #[test]
    fn imports_that_point_down_are_fine() {
        let packages = [package("vfs", &[("file", true, None), ("bitflags", false, None), ("sync", true, None)])];
        assert!(findings(&packages).is_empty());
    }

    #[test]
    fn a_sibling_is_refused() {
        let found = findings(&[package("mm", &[("loader", true, None)])]);
        assert!(found.len() == 1 && found[0].contains("imports loader"), "{found:?}");
    }

    #[test]
    fn an_import_that_points_up_is_refused() {
        assert_eq!(findings(&[package("file", &[("linux", true, None)])]).len(), 1);
    }

    #[test]
    fn tests_may_import_anything() {
        assert!(findings(&[package("mm", &[("testkit", true, Some("dev")), ("rand", false, Some("dev"))])]).is_empty());
    }

    #[test]
    fn an_external_crate_stays_at_home() {
        assert_eq!(findings(&[package("vfs", &[("goblin", false, None)])]).len(), 1);
        assert_eq!(findings(&[package("vfs", &[("unheard-of", false, None)])]).len(), 1);
        assert!(findings(&[package("loader", &[("goblin", false, None)])]).is_empty());
    }

    #[test]
    fn a_layer_off_the_way_down_is_refused() {
        // Lower than file, but file does not stand on it.
        assert_eq!(findings(&[package("file", &[("loader", true, None)])]).len(), 1);
        assert_eq!(findings(&[package("vfs", &[("sched", true, None)])]).len(), 1);
        assert!(findings(&[package("linux", &[("loader", true, None), ("abi", true, None)])]).is_empty());
    }

    #[test]
    fn support_of_tests_is_not_built_into_the_kernel() {
        assert_eq!(findings(&[package("mm", &[("testkit", true, None)])]).len(), 1);
    }

    #[test]
    fn a_crate_without_a_place_is_told() {
        assert_eq!(findings(&[package("novelty", &[])]).len(), 1);
    }

    #[test]
    fn the_table_has_no_cycle_and_no_unknown_crate() {
        for (index, (name, direct)) in CRATES.iter().enumerate() {
            for lower in *direct {
                let place = CRATES.iter().position(|(known, _)| known == lower);
                assert!(
                    place.is_some_and(|place| place < index),
                    "{name} stands on {lower}, which is not above it in the table"
                );
            }
        }
    }
}
