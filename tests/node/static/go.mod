module portcullis.dev/tests/node/static

go 1.25.0
