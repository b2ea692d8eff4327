//! Downloads into the Hugging Face cache: resumable at every byte, verified while they arrive.
