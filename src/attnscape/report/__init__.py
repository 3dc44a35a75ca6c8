"""Drawing results, and writing them where people find them."""
