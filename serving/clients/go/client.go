// Ask a uad server about one image. Go 1.16 or later, standard library only.
//
// Build:  apt-get install golang-go
//         go build -o client client.go
// Run:    ./client IMAGE OUTPUT.jpg [URL]
//
// If the server wants an API key, set it in the environment variable UAD_API_KEY.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"
)

const defaultURL = "http://localhost:8080/image-anomaly-detection"

type answer struct {
	ErrorCode int    `json:"errorCode"`
	ErrorMsg  string `json:"errorMsg"`
	Result    result `json:"result"`
}

type result struct {
	LabelMap    []uint16 `json:"labelMap"` // row by row: pixel (y, x) is LabelMap[y*width+x]
	Size        [2]int   `json:"size"`     // height, width
	Image       []byte   `json:"image"`    // encoding/json decodes base64 into bytes
	Score       float64  `json:"score"`
	IsAnomalous bool     `json:"isAnomalous"`
	Regions     []region `json:"regions"` // largest score first, at most 100
	Omitted     int      `json:"regionsOmitted"`
}

type region struct {
	Box   [4]int  `json:"box"`  // x, y, width, height
	Area  int     `json:"area"` // pixels
	Score float64 `json:"score"`
}

// ask sends the bytes of an image file.
func ask(url string, image []byte) (result, error) {
	body, err := json.Marshal(map[string]string{"image": base64.StdEncoding.EncodeToString(image)})
	if err != nil {
		return result{}, err
	}
	request, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return result{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	if key := os.Getenv("UAD_API_KEY"); key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	client := http.Client{Timeout: 60 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return result{}, err
	}
	defer response.Body.Close()
	var got answer
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
		return result{}, fmt.Errorf("HTTP status %s without a JSON answer: %w", response.Status, err)
	}
	if got.ErrorCode != 0 {
		return result{}, fmt.Errorf("%d: %s", got.ErrorCode, got.ErrorMsg)
	}
	return got.Result, nil
}

func run(image, output, url string) error {
	data, err := os.ReadFile(image)
	if err != nil {
		return err
	}
	found, err := ask(url, data)
	if err != nil {
		return err
	}
	if err := os.WriteFile(output, found.Image, 0o644); err != nil {
		return err
	}
	anomalous := 0
	for _, label := range found.LabelMap {
		if label != 0 {
			anomalous++
		}
	}
	verdict := "normal"
	if found.IsAnomalous {
		verdict = "anomalous"
	}
	fmt.Println("score:", found.Score)
	fmt.Println("verdict:", verdict)
	fmt.Println("size:", found.Size[0], "x", found.Size[1])
	fmt.Println("anomalous pixels:", anomalous)
	fmt.Println("regions:", len(found.Regions)+found.Omitted)
	for index, region := range found.Regions {
		box := region.Box
		fmt.Printf("region %d: x %d, y %d, width %d, height %d\n", index+1, box[0], box[1], box[2], box[3])
	}
	fmt.Println("picture:", output)
	return nil
}

func main() {
	if len(os.Args) != 3 && len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: client IMAGE OUTPUT.jpg [URL]")
		os.Exit(2)
	}
	url := defaultURL
	if len(os.Args) == 4 {
		url = os.Args[3]
	}
	if err := run(os.Args[1], os.Args[2], url); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
