// Ask a uad server about one image. C# 7, .NET's own libraries only.
//
// Build:  apt-get install mono-devel
//         mcs -r:System.Net.Http.dll -r:System.Runtime.Serialization.dll Client.cs -out:client.exe
// Run:    mono client.exe IMAGE OUTPUT.jpg [URL]
//         mono client.exe --feedback LOG_ID good|defective [NOTE [URL]]
//
// If the server wants an API key, set it in the environment variable UAD_API_KEY.
//
// With the .NET SDK: `dotnet new console`, put this file in place of Program.cs, and
// `dotnet run -- IMAGE OUTPUT.jpg [URL]`.

using System;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Runtime.Serialization;
using System.Runtime.Serialization.Json;
using System.Text;
using System.Threading.Tasks;

[DataContract]
class Answer<T>
{
    [DataMember(Name = "logId")] public string LogId { get; set; }
    [DataMember(Name = "errorCode")] public int ErrorCode { get; set; }
    [DataMember(Name = "errorMsg")] public string ErrorMsg { get; set; }
    [DataMember(Name = "result")] public T Result { get; set; }
}

[DataContract]
class Feedback
{
    [DataMember(Name = "logId")] public string LogId { get; set; }
    /// <summary>good or defective.</summary>
    [DataMember(Name = "verdict")] public string Verdict { get; set; }
    [DataMember(Name = "note")] public string Note { get; set; }
}

[DataContract]
class Recorded
{
    [DataMember(Name = "judged")] public string Judged { get; set; }
    [DataMember(Name = "said")] public string Said { get; set; }
}

[DataContract]
class Result
{
    /// <summary>Row by row: the pixel in row y and column x is LabelMap[y * width + x].</summary>
    [DataMember(Name = "labelMap")] public int[] LabelMap { get; set; }
    /// <summary>Height, width.</summary>
    [DataMember(Name = "size")] public int[] Size { get; set; }
    [DataMember(Name = "image")] public string Image { get; set; }
    [DataMember(Name = "score")] public double Score { get; set; }
    [DataMember(Name = "isAnomalous")] public bool IsAnomalous { get; set; }
    /// <summary>The marked regions, largest score first, at most 100.</summary>
    [DataMember(Name = "regions")] public Region[] Regions { get; set; }
    [DataMember(Name = "regionsOmitted")] public int RegionsOmitted { get; set; }
}

[DataContract]
class Region
{
    /// <summary>x, y, width, height in pixels.</summary>
    [DataMember(Name = "box")] public int[] Box { get; set; }
    [DataMember(Name = "area")] public int Area { get; set; }
    [DataMember(Name = "score")] public double Score { get; set; }
}

static class Client
{
    const string DefaultUrl = "http://localhost:8080/image-anomaly-detection";
    const string FeedbackUrl = "http://localhost:8080/feedback";

    /// <summary>Send the bytes of an image file; return the answer with what was found.</summary>
    static Task<Answer<Result>> Ask(string url, byte[] image)
    {
        // Base64 needs no escaping in JSON.
        return Post<Result>(url, "{\"image\": \"" + Convert.ToBase64String(image) + "\"}");
    }

    /// <summary>Say that a judged image is good or defective.</summary>
    static Task<Answer<Recorded>> Say(string url, Feedback feedback)
    {
        using (var stream = new MemoryStream())
        {
            new DataContractJsonSerializer(typeof(Feedback)).WriteObject(stream, feedback);
            return Post<Recorded>(url, Encoding.UTF8.GetString(stream.ToArray()));
        }
    }

    static async Task<Answer<T>> Post<T>(string url, string json)
    {
        var key = Environment.GetEnvironmentVariable("UAD_API_KEY");
        using (var http = new HttpClient { Timeout = TimeSpan.FromSeconds(60) })
        using (var content = new StringContent(json, Encoding.UTF8, "application/json"))
        {
            if (!string.IsNullOrEmpty(key))
            {
                http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
            }
            using (var response = await http.PostAsync(url, content))
            using (var stream = await response.Content.ReadAsStreamAsync())
            {
                return Read<T>(stream);
            }
        }
    }

    static Answer<T> Read<T>(Stream stream)
    {
        var answer = (Answer<T>)new DataContractJsonSerializer(typeof(Answer<T>)).ReadObject(stream);
        if (answer.ErrorCode != 0)
        {
            throw new IOException(answer.ErrorCode + ": " + answer.ErrorMsg);
        }
        return answer;
    }

    static async Task SendFeedback(string logId, string verdict, string note, string url)
    {
        var feedback = new Feedback { LogId = logId, Verdict = verdict, Note = note };
        var said = (await Say(url, feedback)).Result;
        Console.WriteLine("recorded: judged " + said.Judged + ", said " + said.Said);
    }

    static async Task Analyse(string image, string output, string url)
    {
        var answer = await Ask(url, File.ReadAllBytes(image));
        var result = answer.Result;
        File.WriteAllBytes(output, Convert.FromBase64String(result.Image));
        var culture = System.Globalization.CultureInfo.InvariantCulture;
        Console.WriteLine("score: " + result.Score.ToString("R", culture));
        Console.WriteLine("verdict: " + (result.IsAnomalous ? "anomalous" : "normal"));
        Console.WriteLine("size: " + result.Size[0] + " x " + result.Size[1]);
        Console.WriteLine("anomalous pixels: " + result.LabelMap.Count(label => label != 0));
        Console.WriteLine("regions: " + (result.Regions.Length + result.RegionsOmitted));
        for (var index = 0; index < result.Regions.Length; index++)
        {
            var box = result.Regions[index].Box;
            Console.WriteLine("region " + (index + 1) + ": x " + box[0] + ", y " + box[1]
                + ", width " + box[2] + ", height " + box[3]);
        }
        Console.WriteLine("log id: " + answer.LogId);
        Console.WriteLine("picture: " + output);
    }

    static int Main(string[] args)
    {
        var isFeedback = args.Length > 0 && args[0] == "--feedback";
        if (isFeedback ? args.Length < 3 || args.Length > 5 : args.Length < 2 || args.Length > 3)
        {
            Console.Error.WriteLine("usage: client IMAGE OUTPUT.jpg [URL]");
            Console.Error.WriteLine("       client --feedback LOG_ID good|defective [NOTE [URL]]");
            return 2;
        }
        try
        {
            var done = isFeedback
                ? SendFeedback(args[1], args[2], args.ElementAtOrDefault(3) ?? "", args.ElementAtOrDefault(4) ?? FeedbackUrl)
                : Analyse(args[0], args[1], args.ElementAtOrDefault(2) ?? DefaultUrl);
            done.GetAwaiter().GetResult();
            return 0;
        }
        catch (Exception error)
        {
            Console.Error.WriteLine("error: " + error.GetBaseException().Message);
            return 1;
        }
    }
}
