//! One version: Cargo's, from which the header, the wheel and the npm package have theirs.

mod support;

use serde_json::Value;
use support::read;

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[test]
fn the_header_has_cargos_version() {
    let header = read("include/isr.h");
    for (name, value) in [
        ("MAJOR", env!("CARGO_PKG_VERSION_MAJOR")),
        ("MINOR", env!("CARGO_PKG_VERSION_MINOR")),
        ("PATCH", env!("CARGO_PKG_VERSION_PATCH")),
    ] {
        let line = format!("#define ISR_VERSION_{name} {value}\n");
        assert!(header.contains(&line), "include/isr.h has no {line}");
    }
    assert!(header.contains(&format!("#define ISR_VERSION_STRING \"{VERSION}\"\n")));
}

#[test]
fn every_package_of_the_workspace_takes_it() {
    for manifest in [
        "Cargo.toml",
        "core/Cargo.toml",
        "bindings/python/Cargo.toml",
        "bindings/node/Cargo.toml",
        "benches/rust/Cargo.toml",
    ] {
        assert!(read(manifest).contains("\nversion.workspace = true\n"), "{manifest}");
    }
    let core = format!("libisr-core = {{ path = \"core\", version = \"{VERSION}\" }}");
    assert!(read("Cargo.toml").contains(&core), "Cargo.toml asks for another version of the core");
}

#[test]
fn the_npm_package_has_it() {
    for file in ["package.json", "package-lock.json"] {
        let json: Value = serde_json::from_str(&read(format!("bindings/node/{file}"))).unwrap();
        assert_eq!(json["version"], VERSION, "bindings/node/{file}");
    }
}

#[test]
fn the_wheel_has_it() {
    let project = read("bindings/python/pyproject.toml");
    let own = format!("\nversion = \"{VERSION}\"\n");
    // maturin takes the version of Cargo.toml where it is dynamic.
    assert!(
        project.contains("dynamic = [\"version\"]") != project.contains(&own),
        "bindings/python/pyproject.toml has neither dynamic = [\"version\"] nor{own}"
    );
}
