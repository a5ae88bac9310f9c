package interop_test

import (
	"github.com/labstack/echo/v4"

	"github.com/tokenbooth/tokenbooth"
)

// recipe:begin
func requireEcho(guard *tokenbooth.Guard, scope string) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			who, err := guard.Check(c.Request(), scope)
			if err != nil {
				guard.Refuse(c.Response(), err)
				return nil // the answer is written
			}
			c.SetRequest(c.Request().WithContext(tokenbooth.ContextWithPrincipal(c.Request().Context(), who)))
			return next(c)
		}
	}
}

// recipe:end
