//! Where the newest image hangs for every shard to see.
//!
//! Owns one image and its version. One writer; a shard compares the version once a turn, which is
//! one atomic load, and takes the lock only when it changed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::image::MetadataImage;

/// The published image.
pub struct ImageCell {
    version: AtomicU64,
    image: Mutex<Arc<MetadataImage>>,
}

impl ImageCell {
    pub fn new(image: Arc<MetadataImage>) -> ImageCell {
        ImageCell {
            version: AtomicU64::new(image.version()),
            image: Mutex::new(image),
        }
    }

    /// Version of the published image; when it is the one at hand, there is nothing to load.
    pub fn version(&self) -> u64 {
        // Acquire, so that a load of the image after a changed version finds at least that one.
        self.version.load(Ordering::Acquire)
    }

    /// The published image.
    pub fn load(&self) -> Arc<MetadataImage> {
        // A panic elsewhere cannot have left half an Arc behind.
        Arc::clone(&self.image.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The published image, when it is not the one at `held`.
    pub fn newer(&self, held: &MetadataImage) -> Option<Arc<MetadataImage>> {
        (self.version() != held.version()).then(|| self.load())
    }

    /// Replaces the image; only what is durable is published.
    pub fn publish(&self, image: Arc<MetadataImage>) {
        let version = image.version();
        *self.image.lock().unwrap_or_else(PoisonError::into_inner) = image;
        self.version.store(version, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::super::image::tests::{image, registered, topic_of};
    use super::*;

    #[test]
    fn a_shard_sees_a_published_image_once() {
        let first = Arc::new(image(&[registered(&[0])]));
        let cell = ImageCell::new(Arc::clone(&first));
        assert!(cell.newer(&first).is_none());
        let second = Arc::new(image(&[registered(&[0]), topic_of(1, "t")]));
        cell.publish(Arc::clone(&second));
        let seen = cell.newer(&first).unwrap();
        assert!(Arc::ptr_eq(&seen, &second));
        assert!(cell.newer(&seen).is_none());
    }
}
