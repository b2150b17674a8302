//! Programs that show ContextLM at work: see the files beside this folder.
