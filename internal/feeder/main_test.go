package feeder_test

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// atOnce is how many of these tests run at the same time. They wait for processes, clocks and
// servers, and take hardly any CPU.
const atOnce = 8

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", fmt.Sprint(atOnce)); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
