package kinesis

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/aws/smithy-go/logging"
)

// sdkLogger passes the SDK's warnings on; the SDK is not configured to log anything else.
func sdkLogger(log *slog.Logger) logging.Logger {
	return logging.LoggerFunc(func(class logging.Classification, format string, v ...any) {
		if log == nil {
			return
		}
		level := slog.LevelDebug
		if class == logging.Warn {
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, "the AWS SDK reports", "text", fmt.Sprintf(format, v...))
	})
}
