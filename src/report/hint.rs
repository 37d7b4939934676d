//! Hints for the errors of the libraries: what to type next.

use std::error::Error;

use holdall_builder::BuildError;
use holdall_image::store::StoreError;
use holdall_runtime::boxes::BoxError;

/// The hint of a library's error, where it has one.
pub(super) fn of(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<BoxError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<BuildError>() {
        return error.hint();
    }
    error
        .downcast_ref::<StoreError>()
        .and_then(StoreError::hint)
}
