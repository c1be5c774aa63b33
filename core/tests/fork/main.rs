//! A cache that was opened, and used, before `fork` works in the parent and in the children.
//!
//! No test harness: its threads would not be in the children. Each test says what must hold in a child; a watchdog ends one
//! that hangs.

mod directory;
mod load;
mod memory;
mod support;

/// The tests of these modules by name.
macro_rules! tests {
    ($($module:ident: $($name:ident)+;)+) => {
        &[$($((stringify!($name), $module::$name as fn())),+),+]
    };
}

fn main() {
    let wanted = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    let tests: &[(&str, fn())] = tests! {
        memory:
            hits_and_renders_in_parent_and_child
            every_generation_has_its_own
            options_routes_and_secret_are_inherited
            a_child_that_never_asks_harms_nobody
            closed_before_is_closed_after
            closing_in_the_child_is_the_childs
            jobs_of_the_parent_are_finished
            a_page_from_before_is_not_put
            inside_a_render
            out_of_a_render
            out_of_a_load
            a_manual_clock_goes_on
            threads_of_a_child_share_one_engine
            those_who_share_a_cache_share_one_in_the_child
            the_child_does_not_need_the_lock_of_who_opens
            ;
        directory:
            what_the_parent_stored_is_a_hit
            an_invalidation_is_seen_at_once_in_parent_and_child
            a_child_does_not_keep_the_parents_leases_alive
            a_directory_that_cannot_be_opened_again_is_told_of
            ;
        load:
            forks_under_load
            forks_under_load_with_a_directory
            ;
    };
    for (name, test) in tests.iter().filter(|(name, _)| name.contains(&wanted)) {
        test();
        println!("fork: {name}: ok");
    }
}
