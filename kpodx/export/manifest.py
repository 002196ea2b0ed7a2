"""What a package's manifest is called; apart, so that reading one loads nothing heavy."""

PACKAGE = "package.json"
