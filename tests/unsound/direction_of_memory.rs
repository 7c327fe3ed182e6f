// SPDX-License-Identifier: GPL-2.0
//! A file is not read into the memory of a write, nor written from that of a read.

use crate::{
    abstractions::{
        block::{
            bvecs::BvecBuf, //
            mq::Request,
        },
        fs::{
            kiocb::RwOptions,
            BackingFile, //
        },
    },
    loop_cmd::LoopQueue,
};
use kernel::prelude::*;

fn reads_into_write(file: &BackingFile, write: &Request<LoopQueue>) -> Result<usize> {
    let mut space = BvecBuf::new();
    let mut segments = write.source().ok_or(EINVAL)?;
    let mut iter = segments.next_chunk(&mut space).ok_or(EINVAL)?;
    iter.zero_remaining(); //~ E0599
    let _ = iter.as_dest(); //~ E0599
    file.read(0, iter.as_source(), RwOptions::default()) //~ E0308
}

fn writes_from_read(file: &BackingFile, read: &Request<LoopQueue>) -> Result<usize> {
    let mut space = BvecBuf::new();
    let mut segments = read.dest().ok_or(EINVAL)?;
    let mut iter = segments.next_chunk(&mut space).ok_or(EINVAL)?;
    file.write(0, iter.as_dest(), RwOptions::default()) //~ E0308
}
