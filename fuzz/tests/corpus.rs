//! The kept corpus as plain tests, where nothing can be instrumented. Each input is also cut
//! short at every place, so that this says a little more than that the corpus still passes.

use std::fs;
use std::path::Path;

#[test]
fn every_kept_input_holds() {
    for (name, run) in oncegate_fuzz::TARGETS {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut inputs = 0;
        for file in fs::read_dir(dir).expect("a corpus for every target") {
            let input = fs::read(file.expect("a file").path()).expect("its bytes");
            for end in 0..=input.len() {
                run(&input[..end]);
            }
            inputs += 1;
        }
        println!("{name}: {inputs} inputs");
        assert!(inputs > 0, "{name} has no corpus");
    }
}
