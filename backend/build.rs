//! The pages are embedded by a macro, which cargo does not know to look into their folder.

fn main() {
    println!("cargo:rerun-if-changed=web/dist");
}
