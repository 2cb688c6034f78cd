package config

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cvfeeder/cvfeeder/internal/config/strictyaml"
)

// Load reads the file at path. Variables are looked up with env, normally
// [os.LookupEnv]. What is wrong with the contents is returned as [strictyaml.Errors].
func Load(path string, env func(string) (string, bool)) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data, env)
}

func readFile(path string) ([]byte, error) {
	data, err := strictyaml.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("config file %s: there is no such file; name it with -c FILE", path)
	case err != nil:
		return nil, fmt.Errorf("config file: %w", err)
	}
	return data, nil
}

// Parse reads a config from data. The name is that of the file in errors. What is wrong is
// returned as [strictyaml.Errors].
func Parse(name string, data []byte, env func(string) (string, bool)) (*Config, error) {
	cfg, doc := decode(name, data, env)
	if !doc.Failed("") { // it is a mapping
		checker{doc}.check(cfg)
	}
	if err := doc.Err(); err != nil {
		return nil, err
	}
	return cfg, nil
}

// decode reads the keys and checks each on its own.
func decode(name string, data []byte, env func(string) (string, bool)) (*Config, *strictyaml.Document) {
	cfg := defaults()
	doc := strictyaml.Decode(name, data, env, cfg)
	if doc.Empty() {
		doc.Report("", "the file is empty; it needs streams and outputs")
	}
	return cfg, doc
}
