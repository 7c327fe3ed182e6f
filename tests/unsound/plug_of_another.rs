// SPDX-License-Identifier: GPL-2.0
//! Finishing one plug is no proof that another one has been finished.

use crate::abstractions::block::plug::with_plug;

fn nested() {
    with_plug(1, || (), |outer| {
        with_plug(1, || (), |inner| {
            drop(inner.finish());
            outer.finish() //~ lifetime
        });
        loop {}
    });
}
