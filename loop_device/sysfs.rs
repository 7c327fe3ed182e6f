// SPDX-License-Identifier: GPL-2.0

//! `/sys/block/rloopN/loop/`: the settings of a device, read-only. The directory exists while the
//! device is bound.
//!
//! No function in this file takes the state lock, because a change of the device removes the
//! directory and waits for its readers.

use super::LoopDevice;
use crate::{
    abstractions::{
        compat::errno::ENAMETOOLONG,
        sysfs::{
            Attribute,
            Entry,
            Group, //
        },
        uapi::flags,
    },
    backing_file::Backing, //
};
use kernel::{
    fmt::Write as _,
    page::PAGE_SIZE,
    prelude::*,
    str::Formatter,
    sync::ArcBorrow, //
};

/// The attributes of the directory.
pub(super) static GROUP: Group<LoopDevice> = {
    static BACKING_FILE: Attribute<LoopDevice> = Attribute::new(c"backing_file", backing_file);
    static OFFSET: Attribute<LoopDevice> = Attribute::new(c"offset", offset);
    static SIZELIMIT: Attribute<LoopDevice> = Attribute::new(c"sizelimit", sizelimit);
    static AUTOCLEAR: Attribute<LoopDevice> = Attribute::new(c"autoclear", autoclear);
    static PARTSCAN: Attribute<LoopDevice> = Attribute::new(c"partscan", partscan);
    static DIO: Attribute<LoopDevice> = Attribute::new(c"dio", dio);
    static ENTRIES: [Entry<LoopDevice>; 7] = [
        BACKING_FILE.entry(),
        OFFSET.entry(),
        SIZELIMIT.entry(),
        AUTOCLEAR.entry(),
        PARTSCAN.entry(),
        DIO.entry(),
        Entry::end(),
    ];
    Group::new(c"loop", &ENTRIES)
};

fn backing_file(this: ArcBorrow<'_, LoopDevice>, buf: &mut [u8]) -> Result<usize> {
    let Some(backing) = this.workers.backing() else {
        return Ok(0);
    };
    let mut page = KVec::from_elem(0u8, PAGE_SIZE - 1, GFP_KERNEL)?;
    let path = backing.file().path(&mut page)?;
    let (text, rest) = buf.split_at_mut_checked(path.len()).ok_or(ENAMETOOLONG)?;
    text.copy_from_slice(path);
    *rest.first_mut().ok_or(ENAMETOOLONG)? = b'\n';
    Ok(path.len() + 1)
}

fn offset(this: ArcBorrow<'_, LoopDevice>, buf: &mut [u8]) -> Result<usize> {
    number(buf, this, |backing| backing.settings().offset)
}

fn sizelimit(this: ArcBorrow<'_, LoopDevice>, buf: &mut [u8]) -> Result<usize> {
    number(buf, this, |backing| backing.settings().size_limit)
}

fn autoclear(this: ArcBorrow<'_, LoopDevice>, buf: &mut [u8]) -> Result<usize> {
    flag(buf, this, flags::AUTOCLEAR)
}

fn partscan(this: ArcBorrow<'_, LoopDevice>, buf: &mut [u8]) -> Result<usize> {
    flag(buf, this, flags::PARTSCAN)
}

fn dio(this: ArcBorrow<'_, LoopDevice>, buf: &mut [u8]) -> Result<usize> {
    flag(buf, this, flags::DIRECT_IO)
}

fn flag(buf: &mut [u8], this: ArcBorrow<'_, LoopDevice>, flag: u32) -> Result<usize> {
    number(buf, this, |backing| u64::from(backing.flags() & flag != 0))
}

/// Prints a number of a bound device, or 0 if the device is being detached.
fn number(
    buf: &mut [u8],
    this: ArcBorrow<'_, LoopDevice>,
    value: impl FnOnce(&Backing) -> u64,
) -> Result<usize> {
    let value = this.workers.backing().map_or(0, |backing| value(&backing));
    let mut out = Formatter::new(buf);
    writeln!(out, "{value}")?;
    Ok(out.bytes_written())
}
