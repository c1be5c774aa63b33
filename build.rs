//! Writes `include/isr.h` from `ffi/` when it has changed, and sets the soname of the shared library.

use std::path::Path;

/// The order of the header's sections.
const SOURCES: &[&str] = &[
    "version",
    "types",
    "status",
    "callback",
    "clock",
    "options",
    "params",
    "route",
    "cache",
    "context",
    "request",
    "get",
    "answer",
    "page",
    "head",
    "render",
    "result",
    "load",
    "data",
    "put",
    "prerender",
    "draft",
    "stats",
    "guard",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=ffi");
    println!("cargo::rerun-if-changed=include/isr.h");

    // Before 1.0 each minor version has an interface of its own.
    let version =
        format!("{}.{}", env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"));
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libisr.so.{version}");

    match header() {
        Ok(text) => write(&text),
        Err(error) => println!("cargo::error=include/isr.h cannot be made: {error}"),
    }
}

fn header() -> Result<String, Box<dyn std::error::Error>> {
    let mut config = cbindgen::Config::from_file("ffi/cbindgen.toml")?;
    config.header =
        Some(format!("{}\n{}", licence(), main_page(&std::fs::read_to_string("ffi/lib.rs")?)));
    config.after_includes = Some(macros());
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in SOURCES {
        builder = builder.with_src(format!("ffi/{source}.rs"));
    }
    let mut text = Vec::new();
    builder.generate()?.write(&mut text);
    Ok(String::from_utf8(text)?)
}

fn licence() -> &'static str {
    concat!(
        "/* libisr ",
        env!("CARGO_PKG_VERSION"),
        ". Licence: ",
        env!("CARGO_PKG_LICENSE"),
        ". */"
    )
}

/// The crate's own docs as the header's main page.
fn main_page(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let body: String = lines.map(|line| format!("{}\n", format!(" *{line}").trim_end())).collect();
    format!("/**\n * \\file isr.h\n *\n{body} */")
}

fn macros() -> String {
    let (major, minor, patch) = (
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
        env!("CARGO_PKG_VERSION_PATCH"),
    );
    let version = env!("CARGO_PKG_VERSION");
    format!(
        r#"/** The version of this header. That of the library that runs: `isr_version`. */
#define ISR_VERSION_MAJOR {major}
#define ISR_VERSION_MINOR {minor}
#define ISR_VERSION_PATCH {patch}
#define ISR_VERSION_NUMBER ((ISR_VERSION_MAJOR << 16) | (ISR_VERSION_MINOR << 8) | ISR_VERSION_PATCH)
#define ISR_VERSION_STRING "{version}"

/** Seconds that never end: never, or no limit. */
#define ISR_NEVER ((double)INFINITY)

/** A text literal as an `isr_str`. */
#ifdef __cplusplus
#define ISR_STR(literal) (isr_str{{"" literal, sizeof(literal) - 1}})
#else
#define ISR_STR(literal) ((isr_str){{"" literal, sizeof(literal) - 1}})
#endif

/** The same as a static initialiser, which C99 does not let `ISR_STR` be: `static const isr_str tag = ISR_STR_INIT("posts");` */
#define ISR_STR_INIT(literal) {{"" literal, sizeof(literal) - 1}}

/** Initial values: `isr_request request = ISR_REQUEST_INIT;` */
#define ISR_REQUEST_INIT {{sizeof(isr_request), {{NULL, 0}}, NULL, 0, false, false, NULL}}
#define ISR_CONDITIONS_INIT {{sizeof(isr_conditions), false, {{NULL, 0}}, {{NULL, 0}}}}
#define ISR_DATA_REQUEST_INIT {{sizeof(isr_data_request), NULL, 0, NULL, 0, ISR_NEVER, NULL}}

#ifndef ISR_API
#if defined(__GNUC__) || defined(__clang__)
#define ISR_API __attribute__((visibility("default")))
#else
#define ISR_API
#endif
#endif"#
    )
}

/// A tree that cannot be written (a package being built) keeps the header it came with; `tests/header.rs` compares it with the
/// copy in the build's own folder.
fn write(text: &str) {
    let copy = std::env::var_os("OUT_DIR").map(|dir| Path::new(&dir).join("isr.h"));
    if let Some(Err(error)) = copy.map(|copy| std::fs::write(copy, text)) {
        println!("cargo::error=the build folder cannot be written: {error}");
    }
    let header = Path::new("include/isr.h");
    if std::fs::read_to_string(header).is_ok_and(|old| old == text) {
        return;
    }
    if let Err(error) = std::fs::write(header, text) {
        println!(
            "cargo::warning={} is not current and cannot be written: {error}",
            header.display()
        );
    }
}
