//! Boxes: running or stopped containers made from an image, without a daemon.
