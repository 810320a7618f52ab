// Ask a uad server about one image. Go 1.16 or later, standard library only.
//
// Build:  apt-get install golang-go
//
//	go build -o client client.go
//
// Run:    ./client IMAGE OUTPUT.jpg [URL]
//
//	./client --feedback LOG_ID good|defective [NOTE [URL]]
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

const (
	defaultURL  = "http://localhost:8080/image-anomaly-detection"
	feedbackURL = "http://localhost:8080/feedback"
	usage       = `usage: client IMAGE OUTPUT.jpg [URL]
       client --feedback LOG_ID good|defective [NOTE [URL]]`
)

type answer struct {
	LogID     string          `json:"logId"`
	ErrorCode int             `json:"errorCode"`
	ErrorMsg  string          `json:"errorMsg"`
	Result    json.RawMessage `json:"result"`
}

type recorded struct {
	Judged string `json:"judged"` // good or defective
	Said   string `json:"said"`
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

// ask sends the bytes of an image file; it returns the answer's logId as well.
func ask(url string, image []byte) (found result, logID string, err error) {
	logID, err = post(url, map[string]string{"image": base64.StdEncoding.EncodeToString(image)}, &found)
	return found, logID, err
}

// say records that a judged image is "good" or "defective".
func say(url, logID, verdict, note string) (said recorded, err error) {
	_, err = post(url, map[string]string{"logId": logID, "verdict": verdict, "note": note}, &said)
	return said, err
}

// post sends values as JSON and reads the answer's result into `into`; it returns the logId.
func post(url string, values map[string]string, into interface{}) (string, error) {
	body, err := json.Marshal(values)
	if err != nil {
		return "", err
	}
	request, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	if key := os.Getenv("UAD_API_KEY"); key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	client := http.Client{Timeout: 60 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var got answer
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
		return "", fmt.Errorf("HTTP status %s without a JSON answer: %w", response.Status, err)
	}
	if got.ErrorCode != 0 {
		return "", fmt.Errorf("%d: %s", got.ErrorCode, got.ErrorMsg)
	}
	return got.LogID, json.Unmarshal(got.Result, into)
}

func feedback(logID, verdict, note, url string) error {
	found, err := say(url, logID, verdict, note)
	if err != nil {
		return err
	}
	fmt.Printf("recorded: judged %s, said %s\n", found.Judged, found.Said)
	return nil
}

func analyse(image, output, url string) error {
	data, err := os.ReadFile(image)
	if err != nil {
		return err
	}
	found, logID, err := ask(url, data)
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
	fmt.Println("log id:", logID)
	fmt.Println("picture:", output)
	return nil
}

// argument returns the argument with this number, or another value if there is none.
func argument(number int, otherwise string) string {
	if number < len(os.Args) {
		return os.Args[number]
	}
	return otherwise
}

func main() {
	var err error
	isFeedback, count := argument(1, "") == "--feedback", len(os.Args)
	switch {
	case isFeedback && count >= 4 && count <= 6:
		err = feedback(os.Args[2], os.Args[3], argument(4, ""), argument(5, feedbackURL))
	case !isFeedback && (count == 3 || count == 4):
		err = analyse(os.Args[1], os.Args[2], argument(3, defaultURL))
	default:
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
