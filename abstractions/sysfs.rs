// SPDX-License-Identifier: GPL-2.0

//! Groups of read-only sysfs attributes of a disk.
//!
//! C headers: [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h),
//! [`include/linux/device.h`](srctree/include/linux/device.h)

use super::{
    bindings,
    block::gen_disk::GenDisk, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    ffi::c_char,
    page::PAGE_SIZE,
    prelude::*,
    str::as_char_ptr_in_const_context,
    sync::{
        Arc,
        ArcBorrow, //
    },
    types::{
        ForeignOwnable,
        Opaque, //
    },
};

/// Function that writes the value of an attribute to a buffer and returns its length.
///
/// Called in process context. Removing the group waits for it, so it must not take a lock that is
/// held during the removal.
pub(crate) type Show<T> = fn(ArcBorrow<'_, T>, &mut [u8]) -> Result<usize>;

/// A read-only attribute with mode 0444
/// ([`struct device_attribute`](srctree/include/linux/device.h)).
#[repr(C)]
pub(crate) struct Attribute<T> {
    // First, so that a pointer to it is one to the whole attribute.
    inner: Opaque<bindings::device_attribute>,
    show: Show<T>,
}

// SAFETY: Sysfs serialises its accesses to `inner`; `show` is a function.
unsafe impl<T> Sync for Attribute<T> {}

impl<T: Send + Sync + 'static> Attribute<T> {
    /// Creates an attribute whose value `show` writes.
    pub(crate) const fn new(name: &'static CStr, show: Show<T>) -> Self {
        let mut inner: bindings::device_attribute = pin_init::zeroed();
        inner.attr.name = as_char_ptr_in_const_context(name);
        inner.attr.mode = 0o444;
        inner.__bindgen_anon_1.show = Some(Self::show_callback);
        Self {
            inner: Opaque::new(inner),
            show,
        }
    }

    /// Returns the entry for the list of a [`Group`].
    pub(crate) const fn entry(&'static self) -> Entry<T> {
        Entry(self.inner.get().cast(), PhantomData)
    }

    /// Calls `show` for the driver's data of the disk.
    ///
    /// # Safety
    ///
    /// Called by sysfs only, for an attribute in a [`Group<T>`] of a disk of `T`.
    unsafe extern "C" fn show_callback(
        dev: *mut bindings::device,
        attr: *mut bindings::device_attribute,
        buf: *mut c_char,
    ) -> isize {
        // SAFETY: Only a `Self` has this function, `attr` is its first field, and it is static.
        let this = unsafe { &*attr.cast::<Self>() };
        // SAFETY: Groups are created for disks only, and the disk is alive while sysfs uses its
        // device.
        let data = unsafe { (*bindings::rust_loop_helper_dev_to_disk(dev)).private_data };
        // SAFETY: A `Group<T>` is created for disks of `T` only, whose data is an `Arc<T>`.
        let data = unsafe { <Arc<T> as ForeignOwnable>::borrow(data) };
        // SAFETY: Sysfs passes a buffer of one page.
        let buf = unsafe { core::slice::from_raw_parts_mut(buf.cast::<u8>(), PAGE_SIZE) };
        match (this.show)(data, buf) {
            Ok(len) => len as isize,
            Err(err) => err.to_errno() as isize,
        }
    }
}

/// An element of the list of a [`Group`].
#[repr(transparent)]
pub(crate) struct Entry<T>(*mut bindings::attribute, PhantomData<fn() -> T>);

// SAFETY: The pointer is to an `Attribute<T>`, which is `Sync`, or null.
unsafe impl<T> Sync for Entry<T> {}

impl<T> Entry<T> {
    /// Returns the last element of a list.
    pub(crate) const fn end() -> Self {
        Self(core::ptr::null_mut(), PhantomData)
    }
}

/// A directory of attributes ([`struct attribute_group`](srctree/include/linux/sysfs.h)).
///
/// # Invariants
///
/// The list ends with [`Entry::end`].
///
/// # Examples
///
/// ```
/// use crate::{
///     abstractions::{
///         block::gen_disk::GenDisk,
///         sysfs::{
///             Attribute,
///             Entry,
///             Group,
///             GroupRegistration, //
///         },
///     },
///     loop_device::LoopDevice,
/// };
/// use kernel::{
///     prelude::*,
///     sync::ArcBorrow, //
/// };
///
/// fn show(_device: ArcBorrow<'_, LoopDevice>, buf: &mut [u8]) -> Result<usize> {
///     buf[..3].copy_from_slice(b"42\n");
///     Ok(3)
/// }
///
/// static ANSWER: Attribute<LoopDevice> = Attribute::new(c"answer", show);
/// static ATTRS: [Entry<LoopDevice>; 2] = [ANSWER.entry(), Entry::end()];
/// static GROUP: Group<LoopDevice> = Group::new(c"example", &ATTRS);
///
/// fn create(disk: &GenDisk<LoopDevice>) -> Result<GroupRegistration<LoopDevice>> {
///     GroupRegistration::new(disk, &GROUP)
/// }
/// ```
#[repr(transparent)]
pub(crate) struct Group<T>(bindings::attribute_group, PhantomData<fn() -> T>);

// SAFETY: It never changes.
unsafe impl<T> Sync for Group<T> {}

impl<T> Group<T> {
    /// Creates a group. The last of `attrs`, and only that one, must be [`Entry::end`].
    pub(crate) const fn new(name: &'static CStr, attrs: &'static [Entry<T>]) -> Self {
        assert!(!attrs.is_empty() && attrs[attrs.len() - 1].0.is_null());
        let mut inner: bindings::attribute_group = pin_init::zeroed();
        inner.name = as_char_ptr_in_const_context(name);
        inner.__bindgen_anon_2.attrs = attrs.as_ptr().cast_mut().cast();
        // INVARIANT: Checked above, when the static is evaluated.
        Self(inner, PhantomData)
    }
}

/// A group of a disk that exists while this lives.
///
/// # Invariants
///
/// The group has been created, and this holds a reference to the disk.
pub(crate) struct GroupRegistration<T: 'static> {
    disk: NonNull<bindings::gendisk>,
    group: &'static Group<T>,
}

// SAFETY: Attributes may be created and removed from any thread.
unsafe impl<T: 'static> Send for GroupRegistration<T> {}
// SAFETY: A shared reference gives access to nothing.
unsafe impl<T: 'static> Sync for GroupRegistration<T> {}

impl<T: 'static> GroupRegistration<T> {
    /// Creates the attributes in the directory of `disk`. Sleeps.
    pub(crate) fn new(disk: &GenDisk<T>, group: &'static Group<T>) -> Result<Self> {
        // SAFETY: The disk is alive. The group is static, and its list has an end.
        to_result(unsafe { bindings::sysfs_create_group(disk.kobject(), &group.0) })?;
        // SAFETY: The disk is alive.
        unsafe { bindings::get_device(bindings::rust_loop_helper_disk_to_dev(disk.as_raw())) };
        // INVARIANT: The group was created, and a reference was taken, above.
        Ok(Self {
            disk: NonNull::from(disk).cast(),
            group,
        })
    }
}

impl<T: 'static> Drop for GroupRegistration<T> {
    /// Waits for readers of attributes. Sleeps.
    fn drop(&mut self) {
        // SAFETY: By the type invariant the disk is alive.
        let dev = unsafe { bindings::rust_loop_helper_disk_to_dev(self.disk.as_ptr()) };
        // SAFETY: By the type invariant the disk has the group.
        unsafe { bindings::sysfs_remove_group(&raw mut (*dev).kobj, &self.group.0) };
        // SAFETY: By the type invariant this holds a reference.
        unsafe { bindings::put_device(dev) };
    }
}
