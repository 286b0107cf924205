package main

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/url"
	"time"

	"github.com/valyala/fasthttp"
)

const formType = "application/x-www-form-urlencoded"

// netHTTP posts with the standard library.
func netHTTP(target, sid, token string, connections int) func() poster {
	client := &http.Client{
		Timeout: 20 * time.Second,
		Transport: &http.Transport{
			MaxIdleConns:        connections,
			MaxIdleConnsPerHost: connections,
			IdleConnTimeout:     15 * time.Second,
			DisableCompression:  true,
		},
	}
	authorization := basic(sid, token)
	return func() poster {
		var body bytes.Buffer
		return func(form []byte) (int, []byte, error) {
			request, err := http.NewRequest(http.MethodPost, target, bytes.NewReader(form))
			if err != nil {
				return 0, nil, err
			}
			request.Header.Set("Authorization", authorization)
			request.Header.Set("Content-Type", formType)
			request.Header.Set("Accept", "application/json")
			response, err := client.Do(request)
			if err != nil {
				return 0, nil, err
			}
			defer response.Body.Close()
			body.Reset()
			_, err = body.ReadFrom(response.Body)
			return response.StatusCode, body.Bytes(), err
		}
	}
}

// fastHTTP posts with github.com/valyala/fasthttp, its requests and responses used again.
func fastHTTP(target, sid, token string, connections int) func() poster {
	at, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	client := &fasthttp.HostClient{
		Addr:                at.Host,
		IsTLS:               at.Scheme == "https",
		MaxConns:            connections,
		MaxIdleConnDuration: 15 * time.Second,
		ReadTimeout:         20 * time.Second,
		WriteTimeout:        20 * time.Second,
	}
	return func() poster {
		var request fasthttp.Request
		var response fasthttp.Response
		request.SetRequestURI(target)
		request.Header.SetMethod(fasthttp.MethodPost)
		request.Header.Set("Authorization", basic(sid, token))
		request.Header.Set("Accept", "application/json")
		request.Header.SetContentType(formType)
		return func(form []byte) (int, []byte, error) {
			request.SetBodyRaw(form)
			err := client.Do(&request, &response)
			return response.StatusCode(), response.Body(), err
		}
	}
}

func basic(sid, token string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(sid+":"+token))
}
