// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the same would be probed without looking at code: the entries of the library's own functions.

use std::{fs::File, io::Read as _};

use anyhow::{Context as _, Result};
use object::{
    LittleEndian,
    elf::{FileHeader64, PF_X, PT_LOAD},
    read::elf::{FileHeader as _, ProgramHeader as _, Sym as _},
};
use onlooker::runtimes::{Action, Probe, Returns};

use crate::link::Places;

const MOVE_BYTES: [&str; 4] = ["SSL_read", "SSL_read_ex", "SSL_write", "SSL_write_ex"];

/// In C by name, with their returns; in Go the entries of the functions whose copies and stack checks we probe.
pub fn of(file: &File, probes: &[Probe]) -> Result<Places> {
    let mut places = Places::default();
    for probe in probes {
        match probe.action {
            Action::Read | Action::Write => {}
            Action::GoCopyMemory | Action::GoCopyReader => places.entered.push(probe.offset),
            _ => {
                places.entered.push(probe.offset - probe.offset_in_function);
                if probe.returns != Returns::Unseen {
                    places.returned.push(probe.offset - probe.offset_in_function);
                }
            }
        }
    }
    if probes.iter().any(|probe| matches!(probe.action, Action::Read | Action::Write)) {
        let found = functions(file)?;
        places.entered.extend(&found);
        places.returned.extend(found);
    }
    Ok(places)
}

/// Where the functions lie in the file.
fn functions(file: &File) -> Result<Vec<u64>> {
    let mut bytes = Vec::new();
    std::io::Seek::rewind(&mut &*file)?;
    let mut reader = file;
    reader.read_to_end(&mut bytes)?;
    let header = FileHeader64::<LittleEndian>::parse(&*bytes)?;
    let sections = header.sections(LittleEndian, &*bytes)?;
    let symbols = sections.symbols(LittleEndian, &*bytes, object::elf::SHT_DYNSYM)?;
    let segments = header.program_headers(LittleEndian, &*bytes)?;
    let code = segments
        .iter()
        .find(|segment| segment.p_type(LittleEndian) == PT_LOAD && segment.p_flags(LittleEndian).0 & PF_X.0 != 0);
    let code = code.context("the file has no code")?;
    let wanted = symbols.iter().filter(|symbol| {
        let name = symbol.name(LittleEndian, symbols.strings()).unwrap_or_default();
        symbol.st_value(LittleEndian) != 0 && MOVE_BYTES.iter().any(|wanted| wanted.as_bytes() == name)
    });
    let place = |address: u64| address - code.p_vaddr(LittleEndian) + code.p_offset(LittleEndian);
    Ok(wanted.map(|symbol| place(symbol.st_value(LittleEndian))).collect())
}
