// SPDX-License-Identifier: GPL-2.0

//! Module parameters that are visible in sysfs: integers with a lower bound, and booleans.
//!
//! The `params` of `kernel::module!` are not visible in sysfs, and accept any value.
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

/// An integer parameter with a lower bound.
///
/// # Examples
///
/// ```
/// use crate::abstractions::module_param::{
///     bool_param,
///     int_param, //
/// };
///
/// int_param! {
///     /// Number of example devices.
///     pub(crate) static example_devices = 8, min 1, mode 0o444,
///         "Number of example devices. Default: 8";
/// }
///
/// bool_param! {
///     /// Whether examples are enabled.
///     pub(crate) static example_enabled = false, mode 0o644,
///         "Enable examples. Default: no";
/// }
///
/// fn devices() -> i32 {
///     if example_enabled.get() {
///         example_devices.get()
///     } else {
///         0
///     }
/// }
/// ```
#[repr(C)]
pub(crate) struct IntParam {
    // First, so that a pointer to the value is one to the whole parameter.
    value: Atomic<i32>,
    min: i32,
    /// Whether the user has given a value.
    is_set: Atomic<bool>,
}

impl IntParam {
    /// Creates a parameter that is `default` until it is set.
    pub(crate) const fn new(default: i32, min: i32) -> Self {
        Self {
            value: Atomic::new(default),
            min,
            is_set: Atomic::new(false),
        }
    }

    /// Returns the value.
    pub(crate) fn get(&self) -> i32 {
        self.value.load(Relaxed)
    }

    /// Replaces the value, for example by a rounded one.
    pub(crate) fn set(&self, value: i32) {
        self.value.store(value, Relaxed);
    }

    /// Returns whether the user has given a value.
    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Relaxed)
    }

    /// Sets the value, in the syntax of `kstrtoint()` with a base by prefix.
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
            // SAFETY: `val` is a NUL-terminated string, and `value` is valid for writes.
            to_result(unsafe { bindings::kstrtoint(val, 0, &mut value) })?;
            if value < this.min {
                return Err(EINVAL);
            }
            this.value.store(value, Relaxed);
            this.is_set.store(true, Relaxed);
            Ok(0)
        })
    }

    /// Prints the value.
    ///
    /// # Safety
    ///
    /// As for [`Self::set_callback`].
    unsafe extern "C" fn get_callback(
        buffer: *mut c_char,
        kp: *const bindings::kernel_param,
    ) -> c_int {
        // SAFETY: The parameter's `arg` is a static `IntParam`, which begins with its value;
        // `buffer` is a page.
        unsafe { bindings::param_get_int(buffer, kp) }
    }
}

/// Callbacks of an [`IntParam`].
static INT_PARAM_OPS: bindings::kernel_param_ops = bindings::kernel_param_ops {
    flags: 0,
    set: Some(IntParam::set_callback),
    get: Some(IntParam::get_callback),
    free: None,
};

/// A boolean parameter, in the syntax of `kstrtobool()`.
#[repr(transparent)]
pub(crate) struct BoolParam(Atomic<bool>);

impl BoolParam {
    /// Creates a parameter that is `default` until it is set.
    pub(crate) const fn new(default: bool) -> Self {
        Self(Atomic::new(default))
    }

    /// Returns the value.
    pub(crate) fn get(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Sets the value.
    ///
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
                // SAFETY: `val` is a NUL-terminated string, and `value` is valid for writes.
                to_result(unsafe { bindings::kstrtobool(val, &mut value) })?;
            }
            this.0.store(value, Relaxed);
            Ok(0)
        })
    }

    /// Prints the value.
    ///
    /// # Safety
    ///
    /// As for [`Self::set_callback`].
    unsafe extern "C" fn get_callback(
        buffer: *mut c_char,
        kp: *const bindings::kernel_param,
    ) -> c_int {
        // SAFETY: The parameter's `arg` is a static `BoolParam`, which is a bool; `buffer` is a
        // page.
        unsafe { bindings::param_get_bool(buffer, kp) }
    }
}

/// Callbacks of a [`BoolParam`]. The parameter may be given without a value.
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
/// The functions of [`Self::OPS`] must accept a parameter whose `arg` is a `Self`.
pub(crate) unsafe trait Param: 'static {
    /// Callbacks of the parameter.
    const OPS: &'static bindings::kernel_param_ops;
}

// SAFETY: The callbacks accept an `IntParam`.
unsafe impl Param for IntParam {
    const OPS: &'static bindings::kernel_param_ops = &INT_PARAM_OPS;
}

// SAFETY: The callbacks accept a `BoolParam`.
unsafe impl Param for BoolParam {
    const OPS: &'static bindings::kernel_param_ops = &BOOL_PARAM_OPS;
}

/// Description of a parameter for the `__param` section
/// ([`struct kernel_param`](srctree/include/linux/moduleparam.h)).
#[repr(transparent)]
pub(crate) struct KernelParam(bindings::kernel_param);

// SAFETY: Only the C side accesses it, under its own lock.
unsafe impl Sync for KernelParam {}

impl KernelParam {
    /// Describes `param` to the module loader. `name` is [`prefixed`], and `perm` is the mode in
    /// sysfs.
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

/// Prefix of the parameters and of the `.modinfo` of a module that is built into the kernel, as on
/// the kernel command line: its name and a dot.
const PREFIX: [&[u8]; 2] = if cfg!(MODULE) {
    [b"", b""]
} else {
    [
        <crate::LocalModule as kernel::ModuleMetadata>::NAME.to_bytes(),
        b".",
    ]
};

/// Returns the length of [`PREFIX`], `s`, and a NUL.
pub(crate) const fn prefixed_len(s: &str) -> usize {
    PREFIX[0].len() + PREFIX[1].len() + s.len() + 1
}

/// Copies [`PREFIX`], `s`, and a NUL into an array. `N` must be the [`prefixed_len`] of `s`.
pub(crate) const fn prefixed<const N: usize>(s: &str) -> [u8; N] {
    let parts = [PREFIX[0], PREFIX[1], s.as_bytes()];
    let mut out = [0; N];
    let (mut part, mut at) = (0, 0);
    while part < parts.len() {
        let mut i = 0;
        while i < parts[part].len() {
            out[at] = parts[part][i];
            at += 1;
            i += 1;
        }
        part += 1;
    }
    out
}

/// Returns the string of [`prefixed`] bytes.
pub(crate) const fn prefixed_name(bytes: &'static [u8]) -> &'static CStr {
    match CStr::from_bytes_with_nul(bytes) {
        Ok(name) => name,
        // `prefixed` has added the NUL, and identifiers have none.
        Err(_) => c"",
    }
}

/// Defines an integer parameter: a static [`IntParam`] that is known to `insmod`, sysfs and
/// `modinfo`.
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

/// Defines a boolean parameter: a static [`BoolParam`], like [`int_param`].
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

/// Describes a static to the module loader as a parameter.
macro_rules! param {
    ($name:ident, $type:literal, $perm:literal, $desc:literal) => {
        // The module loader reads the sections as arrays of these types.
        #[allow(unsafe_code)]
        const _: () = {
            use $crate::abstractions::module_param as p;

            const NAME: &str = stringify!($name);
            const TYPE: &str = concat!("parmtype=", stringify!($name), ":", $type);
            const DESC: &str = concat!("parm=", stringify!($name), ":", $desc);

            static BYTES: [u8; p::prefixed_len(NAME)] = p::prefixed(NAME);
            #[link_section = "__param"]
            #[used(compiler)]
            static PARAM: p::KernelParam = p::KernelParam::new(
                $crate::abstractions::compat::this_module::this_module(),
                p::prefixed_name(&BYTES),
                $perm,
                &$name,
            );
            #[link_section = ".modinfo"]
            #[used(compiler)]
            static MODINFO_TYPE: [u8; p::prefixed_len(TYPE)] = p::prefixed(TYPE);
            #[link_section = ".modinfo"]
            #[used(compiler)]
            static MODINFO_DESC: [u8; p::prefixed_len(DESC)] = p::prefixed(DESC);
        };
    };
}
pub(crate) use param;
