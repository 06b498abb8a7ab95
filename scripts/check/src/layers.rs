//! Imports point down. The tables are the architecture; ARCHITECTURE.md shows them to people.

use serde_json::Value;

use crate::Finding;

/// Every crate that goes into the kernel, with its layer.
const LAYERS: &[(&str, u8)] = &[
    ("abi", 0),
    ("image-format", 0),
    ("sync", 0),
    ("devices", 1),
    ("entropy", 1),
    ("firmware", 1),
    ("loader", 1),
    ("mm", 1),
    ("sched", 1),
    ("file", 2),
    ("vfs", 3),
    ("net", 3),
    ("linux", 4),
    ("kernel", 5),
];

/// Where an external crate may be imported, by crates of the kernel. Those absent here may be imported nowhere.
const HOMES: &[(&str, &[&str])] = &[
    ("bitflags", &["*"]),
    ("buddy_system_allocator", &["kernel"]),
    ("fatfs", &["vfs"]),
    ("goblin", &["loader"]),
    ("hashbrown", &["vfs"]),
    ("log", &["*"]),
    ("loom", &["sync"]),
    ("rustc-demangle", &["kernel"]),
    ("smoltcp", &["net"]),
    ("spin", &["sync"]),
    ("virtio-drivers", &["kernel"]),
    ("x86_64", &["kernel"]),
    ("zerocopy", &["*"]),
];

fn layer(name: &str) -> Option<u8> {
    LAYERS.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer)
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
        let Some(own) = layer(name) else {
            if manifest.contains("/kernel/") {
                findings.push(Finding::new(name, "this crate has no layer: add it to LAYERS in scripts/check"));
            }
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let is_built_in = dependency["kind"].is_null();
            if let Some(imported) = dependency["name"].as_str().filter(|_| is_built_in) {
                let is_ours = dependency["path"].is_string();
                findings.extend(check_import(name, own, imported, is_ours));
            }
        }
    }
    findings
}

fn check_import(name: &str, own: u8, imported: &str, is_ours: bool) -> Option<Finding> {
    if is_ours {
        return match layer(imported) {
            Some(below) if below < own => None,
            Some(_) => Some(Finding::new(
                name,
                format!("imports {imported}, which is not below it: declare a seam here and implement it there"),
            )),
            None => Some(Finding::new(name, format!("imports {imported}, which is not part of the kernel"))),
        };
    }
    let home = HOMES.iter().find(|(known, _)| *known == imported).map(|(_, homes)| *homes);
    let is_home = home.is_some_and(|homes| homes.contains(&"*") || homes.contains(&name));
    (!is_home).then(|| {
        Finding::new(
            name,
            format!("imports {imported}, whose home is {}", home.map_or("nowhere".into(), |h| h.join(", "))),
        )
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
    fn a_crate_without_a_layer_is_told() {
        assert_eq!(findings(&[package("novelty", &[])]).len(), 1);
    }
}
