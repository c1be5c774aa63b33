//! Compiles and runs the C and C++ programs in `tests/c` and in the docs, by themselves and under valgrind.

mod support;

use std::path::Path;
use std::process::Command;

use support::{built, compiler, program, read, run, run_checked, scratch};

fn check(name: &str, standard: &str, source: &str) {
    run_checked(&program(&scratch(name), standard, &[source], name));
}

#[test]
fn wrong_arguments_of_every_function() {
    check("abi", "c99", "tests/c/abi.c");
}

#[test]
fn jobs_and_handles_out_of_order() {
    check("life", "c99", "tests/c/life.c");
}

#[test]
fn forks() {
    check("fork", "c99", "tests/c/fork.c");
}

#[test]
fn a_directory_is_kept_shared_and_its_trouble_told() {
    check("directory", "c99", "tests/c/directory.c");
}

#[test]
fn many_threads() {
    check("threads", "c99", "tests/c/threads.c");
}

#[test]
fn cpp() {
    check("cpp", "c++17", "tests/c/cpp.cpp");
    // Overloads that are one conversion in C++17 may be two in C++20.
    check("cpp20", "c++20", "tests/c/cpp.cpp");
}

#[test]
#[cfg(feature = "testing")]
fn panics_are_caught() {
    check("panic", "c99", "tests/c/panic.c");
}

#[test]
fn one_program_may_include_the_header_twice() {
    let sources = ["tests/c/double_include_a.c", "tests/c/double_include_b.c"];
    run_checked(&program(&scratch("double"), "c99", &sources, "double"));
}

#[test]
fn the_static_library_links_as_the_docs_say() {
    let line = "libisr.a -lpthread -ldl -lm";
    assert!(read("docs/c-api.md").contains(line), "docs/c-api.md has the link line \"{line}\"");
    let out = scratch("static").join("abi");
    let mut command = compiler("c99");
    command.arg("tests/c/abi.c").arg("-o").arg(&out).arg(built().join("libisr.a"));
    run(command.args(["-lpthread", "-ldl", "-lm"]));
    assert!(run(&mut Command::new(out)).contains("abi: ok"));
}

/// The complete programs in a page of docs: fenced blocks with a `main`.
fn programs(page: &str) -> Vec<(String, &'static str)> {
    let text = read(page);
    let mut found = Vec::new();
    for block in text.split("\n```").skip(1).step_by(2) {
        let (language, code) = block.split_once('\n').unwrap_or_default();
        let standard = match language.trim() {
            "c" => "c99",
            "cpp" => "c++17",
            _ => continue,
        };
        if code.contains("int main(") {
            found.push((code.to_string(), standard));
        }
    }
    found
}

fn check_docs(page: &str, at_least: usize) {
    let programs = programs(page);
    assert!(programs.len() >= at_least, "{page} has {} complete programs", programs.len());
    let dir = scratch(&format!("docs-{}", page.replace(['/', '.'], "-")));
    for (i, (code, standard)) in programs.into_iter().enumerate() {
        let source = dir.join(if standard == "c99" { "doc.c" } else { "doc.cpp" });
        std::fs::write(&source, code).unwrap();
        let name = format!("doc{i}");
        run_checked(&program(&dir, standard, &[path(&source)], &name));
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_programs_in_the_docs_of_the_c_api_run() {
    check_docs("docs/c-api.md", 4);
}

#[test]
fn the_programs_in_the_readme_run() {
    check_docs("README.md", 2);
}
