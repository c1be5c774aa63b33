//! `Cache.get` and `Cache.try_get` as plain C functions: a hit of a path alone costs a look-up in a dict and the core's word
//! that the answer still stands. Everything else goes to the methods of the same names in `cache`.

use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use crate::cache::{Asked, Cache};
use crate::guard::guard;
use crate::lookups::Lookups;
use crate::page::Answer;
use crate::recent::Recent;

/// Puts the functions of this file into the package's class, which is a subclass of the native one; gives the methods that
/// they stand before. Into the subclass, since the interpreter's fast way of a call is for instances of the method's own class.
pub fn install(class: &Bound<'_, PyType>) -> PyResult<[Py<PyAny>; 2]> {
    if !class.is_subclass_of::<Cache>()? {
        return Err(PyTypeError::new_err("the class must be a subclass of the native cache"));
    }
    let get = put_before(
        class,
        c"get",
        get,
        c"get($self, path, *, variant=None, draft=False, prefetch=False)\n--\n\nAnswers a request; waits where it must be rendered first.",
    )?;
    let try_get = put_before(
        class,
        c"try_get",
        try_get,
        c"try_get($self, path, *, variant=None, draft=False, prefetch=False)\n--\n\nThe answer of `get` where that needs no waiting, else None; starts nothing then. Never blocks.",
    )?;
    Ok([get, try_get])
}

fn put_before(
    class: &Bound<'_, PyType>,
    name: &'static CStr,
    function: ffi::PyCFunctionFastWithKeywords,
    doc: &'static CStr,
) -> PyResult<Py<PyAny>> {
    let py = class.py();
    // It must live as long as the class: for good.
    let definition = Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: function },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.as_ptr(),
    }));
    // SAFETY: the class is live, the definition lives for good and has the flags of its function.
    let method = unsafe {
        let method = ffi::PyDescr_NewMethod(class.as_type_ptr(), definition);
        Bound::from_owned_ptr_or_err(py, method)?
    };
    let name = PyString::new(py, &name.to_string_lossy());
    let before = class.getattr(&name)?.unbind();
    class.setattr(&name, method)?;
    Ok(before)
}

unsafe extern "C" fn get(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargs: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as the interpreter calls it.
    unsafe { method::<true>(slf, args, nargs, names) }
}

unsafe extern "C" fn try_get(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargs: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as the interpreter calls it.
    unsafe { method::<false>(slf, args, nargs, names) }
}

/// # Safety
/// The interpreter calls it as a method of the class: `slf` is an instance of a subclass of `Cache`, `args` has `nargs` values and one for each name,
/// all of them live during the call; the thread is attached.
#[inline(always)]
unsafe fn method<const BLOCKS: bool>(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargs: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    if nargs == 1 && names.is_null() {
        // SAFETY: as above.
        let hit = catch_unwind(AssertUnwindSafe(|| unsafe { hit::<BLOCKS>(slf, *args) }));
        if let Ok(hit) = hit
            && !hit.is_null()
        {
            return hit;
        }
    }
    // SAFETY: as above.
    unsafe { otherwise::<BLOCKS>(slf, args, nargs, names) }
}

/// The answer of a recent hit that still stands, as a new reference, else null; no exception is set.
///
/// # Safety
/// As `method`.
#[inline(always)]
unsafe fn hit<const BLOCKS: bool>(
    slf: *mut ffi::PyObject,
    path: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the thread is attached, and `slf` is an instance of it.
    let cache = unsafe {
        let py = Python::assume_attached();
        Borrowed::from_ptr(py, slf).cast_unchecked::<Cache>()
    };
    let Some((core, recent)) = cache.get().recent_hits(BLOCKS) else { return ptr::null_mut() };
    // SAFETY: `path` is live, and nothing runs before the answer is owned.
    unsafe {
        let Some(found) = recent.find(Borrowed::from_ptr(cache.py(), path)) else {
            return ptr::null_mut();
        };
        if found.get().given().is_same_hit(core) {
            let found = found.as_ptr();
            ffi::Py_INCREF(found);
            return found;
        }
        older(core, recent, found)
    }
}

/// The answer with the age that it has now, where it is a hit again and nobody else has it.
///
/// # Safety
/// The answer is in the dict.
#[cold]
unsafe fn older(
    core: &isr_core::Cache,
    recent: &Recent,
    found: Borrowed<'_, '_, Answer>,
) -> *mut ffi::PyObject {
    // SAFETY: nothing of it is borrowed.
    if !unsafe { Answer::grow_older(found, core) } {
        return ptr::null_mut();
    }
    let found = found.to_owned();
    // What is not let go of now is looked at another time.
    let _ = recent.tidy(found.py(), core);
    found.into_ptr()
}

/// # Safety
/// As `method`.
#[cold]
unsafe fn otherwise<const BLOCKS: bool>(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargs: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    Python::attach(|py| {
        let answer = guard(|| {
            // SAFETY: as above.
            let (cache, values) = unsafe {
                let values = |from, n| {
                    (from..from + n).map(|i| Bound::from_borrowed_ptr(py, *args.offset(i)))
                };
                let names = if names.is_null() { 0 } else { ffi::PyTuple_Size(names) };
                (
                    Bound::from_borrowed_ptr(py, slf).cast_into_unchecked::<Cache>(),
                    (
                        values(0, nargs).collect::<Vec<_>>(),
                        values(nargs, names).collect::<Vec<_>>(),
                    ),
                )
            };
            if let ([path], []) = (&*values.0, &*values.1) {
                let answer = cache.get().ask(path, Asked::default(), BLOCKS)?;
                return Ok(answer.into_pyobject(py)?.into_any());
            }
            let keywords = PyDict::new(py);
            if !names.is_null() {
                // SAFETY: as above; the names are a tuple.
                let names =
                    unsafe { Bound::from_borrowed_ptr(py, names).cast_into_unchecked::<PyTuple>() };
                for (name, value) in names.iter().zip(values.1) {
                    keywords.set_item(name, value)?;
                }
            }
            let method = Lookups::get(py)?;
            let method = if BLOCKS { &method.get } else { &method.try_get };
            let args = std::iter::once(cache.into_any()).chain(values.0);
            method.bind(py).call(PyTuple::new(py, args.collect::<Vec<_>>())?, Some(&keywords))
        });
        match answer {
            Ok(answer) => answer.into_ptr(),
            Err(error) => {
                error.restore(py);
                ptr::null_mut()
            }
        }
    })
}
