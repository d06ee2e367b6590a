//! Generates the stubs of proto/sigil. protox reads the contracts, so that no protoc is needed.

use std::path::{Path, PathBuf};
use std::{env, error, fs, io};

/// The contracts below a directory.
fn contracts(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(contracts(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    Ok(found)
}

fn main() -> Result<(), Box<dyn error::Error>> {
    let own = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../../proto");
    let root = env::var_os("CHECK_PROTO").map_or(own, PathBuf::from).canonicalize()?;
    println!("cargo::rerun-if-env-changed=CHECK_PROTO");
    println!("cargo::rerun-if-changed={}", root.display());

    let mut descriptors = protox::compile(contracts(&root.join("sigil"))?, [&root])?;
    // The HTTP mapping, which a gRPC client does not need. The other imports are published, and not generated again:
    // google.rpc is in tonic-types, google.protobuf in prost-types.
    descriptors.file.retain(|file| file.package() != "google.api");
    tonic_prost_build::configure()
        .build_server(false)
        .extern_path(".google.rpc", "::tonic_types::pb")
        .include_file("contracts.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
