//! Routes: a pattern, its options, and the callback that renders its pages.

use std::ffi::{c_char, c_void};
use std::sync::{Arc, Mutex};

use isr_core::{Error, ErrorKind, OptionValue, RouteOptions};

use crate::cache::isr_cache;
use crate::callback::{UserData, isr_free_fn};
use crate::guard;
use crate::handle::{get, handle, open, release};
use crate::lock::locked;
use crate::params::isr_params;
use crate::render::{Callback, isr_render_fn};
use crate::status::{invalid, isr_status};
use crate::types::{self, isr_str, lifetime};

/// The options of a route. `isr_cache_add_route` copies them.
pub struct isr_route {
    _opaque: (),
}
handle!(isr_route, Mutex<RouteOptions>, b"isrroute");

/// Makes route options with every default.
///
/// Ownership: free them with `isr_route_free`.
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn isr_route_new() -> *mut isr_route {
    guard::value(std::ptr::null_mut(), || Ok(open(Mutex::new(RouteOptions::default()))))
}

/// Seconds until a page is stale, with a fraction, or `ISR_NEVER`; 0 is not stored. Default: `default_revalidate` of the cache.
///
/// Threads: one at a time per object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_route_set_revalidate(
    route: *mut isr_route,
    seconds: f64,
) -> isr_status {
    // SAFETY: the same contract.
    unsafe {
        change(route, |route| {
            route.revalidate = Some(lifetime("revalidate", seconds)?);
            Ok(())
        })
    }
}

/// Seconds until a page is no longer served stale, or `ISR_NEVER`. Default: `default_expire` of the cache.
///
/// Threads: one at a time per object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_route_set_expire(route: *mut isr_route, seconds: f64) -> isr_status {
    // SAFETY: the same contract.
    unsafe {
        change(route, |route| {
            route.expire = Some(lifetime("expire", seconds)?);
            Ok(())
        })
    }
}

/// Seconds that a render may take, or `ISR_NEVER`. Default: `default_timeout` of the cache.
///
/// Threads: one at a time per object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_route_set_timeout(route: *mut isr_route, seconds: f64) -> isr_status {
    // SAFETY: the same contract.
    unsafe {
        change(route, |route| {
            route.timeout = Some(lifetime("timeout", seconds)?);
            Ok(())
        })
    }
}

/// Sets an option of a route that is a number, by its name.
///
/// `revalidate`, `expire`, `timeout`: as by the functions of their own. `max_concurrent`: renders of this route at a time, whatever they
/// are for; a whole number from 1, or `ISR_NEVER` for no limit (the default); a render that waits for another page does not count meanwhile.
/// `early_refresh`: how eagerly pages are regenerated before they are stale, 0 (not at all) to 100, 1 is usual; default: that of the cache.
/// Errors: `ISR_STATUS_INVALID_ARGUMENT` for an unknown name or a value out of its range.
/// Threads: one at a time per object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_route_set_number(
    route: *mut isr_route,
    name: *const c_char,
    value: f64,
) -> isr_status {
    let number =
        if value == f64::INFINITY { OptionValue::Never } else { OptionValue::Number(value) };
    // SAFETY: the same contract.
    unsafe { change(route, |route| route.set(types::name("name", name)?, number)) }
}

/// Whether paths that the static params do not list are rendered; if not, they answer 404 with an empty body. Default true.
///
/// Threads: one at a time per object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_route_set_dynamic_params(
    route: *mut isr_route,
    dynamic: bool,
) -> isr_status {
    // SAFETY: the same contract.
    unsafe {
        change(route, |route| {
            route.dynamic_params = dynamic;
            Ok(())
        })
    }
}

/// Adds a path to prerender, by its parameters.
///
/// Ownership: `params` are copied.
/// Threads: one at a time per object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_route_add_static_params(
    route: *mut isr_route,
    params: *const isr_params,
) -> isr_status {
    // SAFETY: the same contract.
    unsafe {
        change(route, |route| {
            let params = locked(get(params)?).clone();
            route.static_params.push(params);
            Ok(())
        })
    }
}

/// Adds a tag that every page of this route has: 1 to 256 bytes without control bytes, checked by `isr_cache_add_route`; that it is
/// UTF-8, at once.
///
/// Threads: one at a time per object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_route_add_tag(route: *mut isr_route, tag: isr_str) -> isr_status {
    // SAFETY: the same contract.
    unsafe {
        change(route, |route| {
            route.tags.push(types::text(ErrorKind::InvalidTag, "tag", tag)?.to_string());
            Ok(())
        })
    }
}

/// Adds the name of a query value that becomes part of the variant. All others are ignored.
///
/// Threads: one at a time per object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_route_add_query(
    route: *mut isr_route,
    name: *const c_char,
) -> isr_status {
    // SAFETY: the same contract.
    unsafe {
        change(route, |route| {
            route.query.push(types::name("name", name)?.to_string());
            Ok(())
        })
    }
}

/// Declares that the variant `name` is made from the request header `header`, which is then named in `vary`. Which page is answered the
/// variant of the request alone decides: set it from the header.
///
/// Threads: one at a time per object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_route_add_vary(
    route: *mut isr_route,
    name: *const c_char,
    header: *const c_char,
) -> isr_status {
    // SAFETY: the same contract.
    unsafe {
        change(route, |route| {
            let name = types::name("name", name)?.to_string();
            route.vary.push((name, types::name("header", header)?.to_string()));
            Ok(())
        })
    }
}

/// Frees the options. NULL is fine.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_route_free(route: *mut isr_route) {
    // SAFETY: the header demands NULL or a handle that the caller owns.
    guard::value((), || unsafe { release(route) });
}

/// Adds a route: a pattern (`/blog/[id]`, `/docs/[...rest]`, `/shop/[[...rest]]`, `/(group)/about`), its options, and the callback
/// that renders its pages.
///
/// `route`: NULL for the defaults, by which a page never becomes stale by time unless the cache has a `default_revalidate`. `user_data` is handed to each call of `render`; `free_user_data` (may be NULL) is called
/// exactly once with it: when the route is gone and no call runs any more, or before this returns a failure.
/// Ownership: `pattern` and `route` are copied.
/// Errors: `ISR_STATUS_INVALID_ARGUMENT` for a malformed pattern or option, `ISR_STATUS_INVALID_TAG`,
/// `ISR_STATUS_INVALID_PATH` for a static path that cannot be, `ISR_STATUS_CONFLICT` where a route matches the same paths or another
/// owner gave it other options, `ISR_STATUS_CLOSED`.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_cache_add_route(
    cache: *const isr_cache,
    pattern: isr_str,
    route: *const isr_route,
    render: isr_render_fn,
    user_data: *mut c_void,
    free_user_data: isr_free_fn,
) -> isr_status {
    // SAFETY: the header demands a free function that fits.
    let user_data = unsafe { UserData::new(user_data, free_user_data) };
    guard::status(|| {
        // SAFETY: the header demands NULL or a live handle.
        let cache = unsafe { get(cache) }?;
        // SAFETY: the header demands a view of valid memory.
        let pattern = unsafe { types::text(ErrorKind::InvalidArgument, "pattern", pattern) }?;
        let options = if route.is_null() {
            RouteOptions::default()
        } else {
            // SAFETY: the header demands NULL or a live handle.
            locked(unsafe { get(route) }?).clone()
        };
        let render = render.ok_or_else(|| invalid("render must not be NULL"))?;
        let callback = Callback::new(render, user_data, cache.downgrade());
        cache.add_route(pattern, options, Arc::new(callback))
    })
}

/// # Safety
/// `route` is NULL or a live handle.
unsafe fn change(
    route: *mut isr_route,
    with: impl FnOnce(&mut RouteOptions) -> Result<(), Error>,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the caller's promise.
        let route = unsafe { get(route) }?;
        with(&mut locked(route))
    })
}
