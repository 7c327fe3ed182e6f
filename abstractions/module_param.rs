// SPDX-License-Identifier: GPL-2.0

//! Module parameters that appear in sysfs: integers with a range, and switches.
//!
//! The `params` of `kernel::module!` of today do not appear there and take any
//! value.
//!
//! C header: [`include/linux/moduleparam.h`](srctree/include/linux/moduleparam.h)

use super::bindings;
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    ffi::{
        c_char,
        c_int, //
    },
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

/// An integer parameter, at least `min`.
#[repr(C)]
pub(crate) struct IntParam {
    // First, so that a pointer to it is one to the whole.
    value: Atomic<i32>,
    min: i32,
    /// Whether somebody has given a value.
    is_set: Atomic<bool>,
}

impl IntParam {
    /// Creates a parameter that is `default` unless it is set.
    pub(crate) const fn new(default: i32, min: i32) -> Self {
        Self {
            value: Atomic::new(default),
            min,
            is_set: Atomic::new(false),
        }
    }

    /// Returns the present value.
    pub(crate) fn get(&self) -> i32 {
        self.value.load(Relaxed)
    }

    /// Replaces the value by what the driver has made of it.
    pub(crate) fn set(&self, value: i32) {
        self.value.store(value, Relaxed);
    }

    /// Returns whether somebody has given a value.
    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Relaxed)
    }

    /// Accepts what `kstrtoint` does, with a base by prefix.
    ///
    /// # Safety
    ///
    /// Called by the parameter code only, for a [`KernelParam`].
    unsafe extern "C" fn set_callback(
        val: *const c_char,
        kp: *const bindings::kernel_param,
    ) -> c_int {
        // SAFETY: The parameter's `arg` is a static `IntParam`.
        let this = unsafe { &*(*kp).__bindgen_anon_1.arg.cast::<Self>() };
        from_result(|| {
            let mut value = 0;
            if val.is_null() {
                return Err(EINVAL);
            }
            // SAFETY: `val` is a NUL-terminated string, `value` valid for
            // writes.
            to_result(unsafe { bindings::kstrtoint(val, 0, &mut value) })?;
            if value < this.min {
                return Err(EINVAL);
            }
            this.value.store(value, Relaxed);
            this.is_set.store(true, Relaxed);
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// As for [`Self::set_callback`].
    unsafe extern "C" fn get_callback(
        buffer: *mut c_char,
        kp: *const bindings::kernel_param,
    ) -> c_int {
        // SAFETY: The parameter's `arg` is a static `IntParam`, which begins
        // with its value; `buffer` is a page.
        unsafe { bindings::param_get_int(buffer, kp) }
    }
}

/// How an [`IntParam`] is read and written.
static INT_PARAM_OPS: bindings::kernel_param_ops = bindings::kernel_param_ops {
    flags: 0,
    set: Some(IntParam::set_callback),
    get: Some(IntParam::get_callback),
    free: None,
};

/// A parameter that is yes or no, given as `kstrtobool` accepts it.
#[repr(transparent)]
pub(crate) struct BoolParam(Atomic<bool>);

impl BoolParam {
    /// Creates a parameter that is `default` unless it is set.
    pub(crate) const fn new(default: bool) -> Self {
        Self(Atomic::new(default))
    }

    /// Returns the present value.
    pub(crate) fn get(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// # Safety
    ///
    /// Called by the parameter code only, for a [`KernelParam`].
    unsafe extern "C" fn set_callback(
        val: *const c_char,
        kp: *const bindings::kernel_param,
    ) -> c_int {
        // SAFETY: The parameter's `arg` is a static `BoolParam`.
        let this = unsafe { &*(*kp).__bindgen_anon_1.arg.cast::<Self>() };
        from_result(|| {
            let mut value = true;
            // A name without a value means yes.
            if !val.is_null() {
                // SAFETY: `val` is a NUL-terminated string, `value` valid for
                // writes.
                to_result(unsafe { bindings::kstrtobool(val, &mut value) })?;
            }
            this.0.store(value, Relaxed);
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// As for [`Self::set_callback`].
    unsafe extern "C" fn get_callback(
        buffer: *mut c_char,
        kp: *const bindings::kernel_param,
    ) -> c_int {
        // SAFETY: The parameter's `arg` is a static `BoolParam`, which is a bool;
        // `buffer` is a page.
        unsafe { bindings::param_get_bool(buffer, kp) }
    }
}

/// How a [`BoolParam`] is read and written. It may be given without a value.
static BOOL_PARAM_OPS: bindings::kernel_param_ops = bindings::kernel_param_ops {
    flags: bindings::RUST_LOOP_CONST_KERNEL_PARAM_OPS_FL_NOARG,
    set: Some(BoolParam::set_callback),
    get: Some(BoolParam::get_callback),
    free: None,
};

/// A type of parameter.
///
/// # Safety
///
/// The functions of [`Self::OPS`] must take the argument of the parameter for one of this
/// type.
pub(crate) unsafe trait Param: 'static {
    /// How it is read and written.
    const OPS: &'static bindings::kernel_param_ops;
}

// SAFETY: They take it for an `IntParam`.
unsafe impl Param for IntParam {
    const OPS: &'static bindings::kernel_param_ops = &INT_PARAM_OPS;
}

// SAFETY: They take it for a `BoolParam`.
unsafe impl Param for BoolParam {
    const OPS: &'static bindings::kernel_param_ops = &BOOL_PARAM_OPS;
}

/// A `struct kernel_param` for the `__param` section.
#[repr(transparent)]
pub(crate) struct KernelParam(bindings::kernel_param);

// SAFETY: Only the C side uses it, which does its own locking.
unsafe impl Sync for KernelParam {}

impl KernelParam {
    /// Describes `param` to the module loader. `perm` is its mode in sysfs.
    pub(crate) const fn new<P: Param>(
        module: &'static kernel::ThisModule,
        name: &'static CStr,
        perm: u16,
        param: &'static P,
    ) -> Self {
        Self(bindings::kernel_param {
            name: kernel::str::as_char_ptr_in_const_context(name),
            mod_: module.as_ptr(),
            ops: P::OPS,
            perm,
            level: -1,
            flags: 0,
            __bindgen_anon_1: bindings::kernel_param__bindgen_ty_1 {
                arg: core::ptr::from_ref(param).cast_mut().cast(),
            },
        })
    }
}

/// Copies a string into an array, for the `.modinfo` section.
pub(crate) const fn modinfo<const N: usize>(s: &str) -> [u8; N] {
    let s = s.as_bytes();
    let mut out = [0; N];
    let mut i = 0;
    while i < s.len() {
        out[i] = s[i];
        i += 1;
    }
    out
}

/// Defines an integer parameter: a static [`IntParam`] that `insmod`, sysfs and
/// `modinfo` know.
macro_rules! int_param {
    (
        $(#[$meta:meta])*
        $vis:vis static $name:ident = $default:expr, min $min:expr, mode $perm:literal, $desc:literal;
    ) => {
        $(#[$meta])*
        #[allow(non_upper_case_globals)]
        $vis static $name: $crate::abstractions::module_param::IntParam =
            $crate::abstractions::module_param::IntParam::new($default, $min);

        $crate::abstractions::module_param::param!($name, "int", $perm, $desc);
    };
}
pub(crate) use int_param;

/// The same for a [`BoolParam`].
macro_rules! bool_param {
    (
        $(#[$meta:meta])*
        $vis:vis static $name:ident = $default:expr, mode $perm:literal, $desc:literal;
    ) => {
        $(#[$meta])*
        #[allow(non_upper_case_globals)]
        $vis static $name: $crate::abstractions::module_param::BoolParam =
            $crate::abstractions::module_param::BoolParam::new($default);

        $crate::abstractions::module_param::param!($name, "bool", $perm, $desc);
    };
}
pub(crate) use bool_param;

/// Makes a static known to the module loader as a parameter.
macro_rules! param {
    ($name:ident, $type:literal, $perm:literal, $desc:literal) => {
        // The sections are read by the module loader as what they are declared
        // to be here.
        #[allow(unsafe_code)]
        const _: () = {
            use $crate::abstractions::module_param as p;

            const TYPE: &str = concat!("parmtype=", stringify!($name), ":", $type, "\0");
            const DESC: &str = concat!("parm=", stringify!($name), ":", $desc, "\0");

            #[link_section = "__param"]
            #[used(compiler)]
            static PARAM: p::KernelParam = p::KernelParam::new(
                $crate::abstractions::compat::this_module::this_module(),
                kernel::c_str!(stringify!($name)),
                $perm,
                &$name,
            );
            #[link_section = ".modinfo"]
            #[used(compiler)]
            static MODINFO_TYPE: [u8; TYPE.len()] = p::modinfo(TYPE);
            #[link_section = ".modinfo"]
            #[used(compiler)]
            static MODINFO_DESC: [u8; DESC.len()] = p::modinfo(DESC);
        };
    };
}
pub(crate) use param;
