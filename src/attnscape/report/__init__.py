"""Reports: figures, LaTeX tables, manifests of the artifacts in a folder, and the page."""
