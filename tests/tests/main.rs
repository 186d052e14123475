//! Everything that needs the whole project, as one program: each program of tests would link the
//! node, the simulator and the command line once more.

mod architecture;
mod bad_input;
mod commands;
mod dev_run;
mod documents;
mod durability;
mod signed;
mod walkthrough;

/// A file that is no module would be compiled by nobody, and its tests would pass for ever.
#[test]
fn every_file_is_a_module() {
    let here = quorate_tests::root().join("tests/tests");
    let this = include_str!("main.rs");
    let mut modules = 0;
    for entry in std::fs::read_dir(here).expect("the folder of this file") {
        let name = entry.expect("an entry").file_name();
        let name = name.to_str().expect("a name in ASCII");
        let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "main") else {
            continue;
        };
        assert!(this.contains(&format!("\nmod {module};\n")), "main.rs does not name {module}");
        modules += 1;
    }
    assert!(modules > 0);
}
